// Both views with something in them, on a desktop and a phone, light and dark: eight pictures, and what can be checked of a view without a
// human eye.

import assert from 'node:assert/strict';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Person } from '../lib/person.js';
import { Channel } from '../lib/rest.js';
import { ask, axe, complaints, eventually, output, say, scenario } from '../lib/run.js';

const DEVICES = {
  desktop: { viewport: { width: 1440, height: 900 } },
  phone: { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true },
};
const THEMES = ['light', 'dark'];
/** Prices of each symbol that come while a dashboard is looked at, the ms between them, and how many prices that makes. */
const TICKS = 6;
const BETWEEN = 350;
const KEPT = TICKS * Object.keys(DEVICES).length * THEMES.length;

const TALK = [
  ['Grace', 'Morning! Is the feed back?'],
  ['Linus', 'Since ten past nine. Nobody missed a price, the dashboards resumed by themselves.'],
  ['Grace', 'I was on a train through two tunnels. It says “online by polling” now, and I still have everything.'],
  ['Barbara', 'Three things before the release:\n1. the upgrade, one instance after the other\n2. a restore of last night’s backup\n3. cake'],
  ['Linus', 'Done, done, and I count on you for the third'],
  ['Barbara', 'مرحبا بالجميع، هل بقيت كعكة؟'],
  ['Grace', 'https://example.org/a/rather/long/address/without/any/place/to/break/it/apart?at=all&so=it&has=to&be=broken&somewhere=else'],
];

await scenario(async (open) => {
  mkdirSync(output, { recursive: true });
  for (const [name, text] of TALK) await new Channel('demo:lobby', await ask(`token ${name}~k7m2 600`)).publish({ text });
  const prices = await priced(await ask('token exchange 600'));

  for (const [device, settings] of Object.entries(DEVICES)) {
    for (const colorScheme of THEMES) {
      const ada = await Person.enters(open, 'Ada', { ...settings, colorScheme });
      await ada.online('websocket');
      await ada.sees(TALK.at(-1)[1]);
      await ada.write(`Hello from the ${device}, in the ${colorScheme}.`);
      await ada.sees(`Hello from the ${device}, in the ${colorScheme}.`);
      for (const view of ['chat', 'dashboard']) {
        await ada.at(`tab-${view}`).click();
        if (view === 'dashboard') await prices.tick(ada);
        await inspect(ada.page, `${view}-${device}-${colorScheme}`);
      }
      assert.deepEqual(complaints(ada.page), [], `the console of ${device}, ${colorScheme}`);
      await ada.page.context().close();
    }
  }
});

/** Real prices: all but the last months of each symbol are there from the start, the rest come one after the other. */
async function priced(token) {
  const rows = readFileSync(join(process.env.SCENARIO_DATA, 'stocks.csv'), 'utf8').trim().split('\n').slice(1);
  const series = new Map();
  for (const [symbol, date, price] of rows.map((row) => row.trim().split(','))) {
    if (!series.has(symbol)) series.set(symbol, []);
    series.get(symbol).push({ row: series.get(symbol).length, data: { symbol, date, price } });
  }
  const rest = new Map();
  for (const [symbol, all] of series) {
    const channel = new Channel(`ticker:${symbol}`, token);
    await channel.publishAll(all.slice(0, -KEPT));
    rest.set(channel, all.slice(-KEPT));
  }
  return {
    /** A few more of each; they reach the page. */
    async tick(person) {
      const received = async () => Number((await person.at('meter-received').textContent()).replace(/\D/g, ''));
      const before = await received();
      for (let round = 0; round < TICKS; round += 1) {
        for (const [channel, left] of rest) await channel.publish(left.shift());
        await sleep(BETWEEN);
      }
      await eventually('the meter counts the new prices', async () => (await received()) === before + TICKS * rest.size);
      await eventually('the prices do not stand still', () => person.at('no-prices').isHidden());
      assert.equal(await person.at('tile').count(), rest.size);
      for (const price of await person.at('tile-price').allTextContents()) assert.match(price, /\d/);
    },
  };
}

/** Takes the picture, and looks for what nobody wants to see. */
async function inspect(page, name) {
  const picture = await page.screenshot({ path: join(output, `${name}.png`), animations: 'disabled' });
  const { colours, most } = await palette(page.context(), picture);
  assert.ok(colours >= 50 && most < 0.97, `${name} is blank: ${colours} colours, one on ${most} of it`);
  const { scroll, client } = await page.evaluate(() => {
    const { scrollWidth: scroll, clientWidth: client } = document.documentElement;
    return { scroll, client };
  });
  assert.ok(scroll <= client, `${name} is ${scroll} px wide, in a window of ${client}`);
  // Evaluated by the debugger: the page's CSP allows no script of ours.
  await page.evaluate(axe());
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
  const grave = violations.filter(({ impact }) => ['serious', 'critical'].includes(impact));
  const told = grave.map(({ id, help, nodes }) => ({ id, help, nodes: nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`) }));
  assert.deepEqual(told, [], `${name} is not accessible`);
  say(`${name}: ${colours} colours, ${violations.length} slight violations`);
}

/** How many colours a picture has, and how much of it has the most frequent one. */
async function palette(context, picture) {
  const page = await context.newPage();
  const found = await page.evaluate(async (base64) => {
    const bitmap = await createImageBitmap(await (await fetch(`data:image/png;base64,${base64}`)).blob());
    const canvas = new OffscreenCanvas(bitmap.width, bitmap.height).getContext('2d');
    canvas.drawImage(bitmap, 0, 0);
    const pixels = new Uint32Array(canvas.getImageData(0, 0, bitmap.width, bitmap.height).data.buffer);
    const counts = new Map();
    for (const pixel of pixels) counts.set(pixel, (counts.get(pixel) ?? 0) + 1);
    return { colours: counts.size, most: Math.max(...counts.values()) / pixels.length };
  }, picture.toString('base64'));
  await page.close();
  return found;
}
