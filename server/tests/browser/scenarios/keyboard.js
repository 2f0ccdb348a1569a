// Without a mouse: come in, write, send, change the view; and at each stop it can be seen where one is.

import assert from 'node:assert/strict';
import { Person } from '../lib/person.js';
import { complaints, eventually, say, scenario } from '../lib/run.js';

await scenario(async (open) => {
  const page = await open('/');
  const { keyboard } = page;
  const ada = new Person('Ada', page);

  await eventually('the name is asked for, and has the focus', () => focused(page, 'name-input'));
  await keyboard.type('Ada');
  await keyboard.press('Enter');
  await ada.online('websocket');
  await eventually('the composer has the focus', () => focused(page, 'composer'));

  await keyboard.type('one line');
  await keyboard.press('Shift+Enter');
  await keyboard.type('and another');
  await keyboard.press('Enter');
  await ada.sees('one line\nand another');
  assert.ok(await focused(page, 'composer'), 'it stays there');
  await keyboard.type('better not');
  await keyboard.press('Escape');
  assert.equal(await ada.at('composer').inputValue(), '');
  await keyboard.press('Enter');

  await ada.at('composer').blur();
  await page.evaluate(() => getSelection().removeAllRanges());
  await page.reload();
  await ada.online('websocket');
  await ada.sees('one line\nand another');
  assert.equal((await ada.messages()).length, 1, 'nothing else was sent');

  await walk(page, 'Shift+Tab', 'tab-dashboard');
  await keyboard.press('Enter');
  await eventually('the dashboard is up front', async () => (await page.locator('main').getAttribute('data-view')) === 'dashboard');
  assert.equal(await ada.at('tab-dashboard').getAttribute('aria-current'), 'page');
  await walk(page, 'Shift+Tab', 'tab-chat');
  await keyboard.press('Enter');
  await eventually('the chat is up front', async () => (await page.locator('main').getAttribute('data-view')) === 'chat');
  await keyboard.press('Shift+Tab');
  assert.match(await page.evaluate(() => document.activeElement.textContent), /skip/i, 'the first stop skips the rest');
  await keyboard.press('Enter');
  await walk(page, 'Tab', 'composer');
  await keyboard.type('from the keyboard');
  await walk(page, 'Tab', 'send');
  await keyboard.press('Space');
  await ada.sees('from the keyboard');

  assert.deepEqual(complaints(page), []);
});

function focused(page, id) {
  return page.evaluate((id) => document.activeElement?.dataset.testid === id, id);
}

/** Presses `key` until the focus is there. It is seen at each stop. */
async function walk(page, key, id) {
  for (let stops = 0; stops < 40; stops += 1) {
    await page.keyboard.press(key);
    const { name, shown } = await page.evaluate(() => {
      const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(document.activeElement);
      const shown = (outlineStyle !== 'none' && parseFloat(outlineWidth) >= 1) || boxShadow !== 'none';
      return { name: document.activeElement.dataset.testid ?? document.activeElement.tagName, shown };
    });
    assert.ok(shown || name === 'BODY', `the focus on ${name} cannot be seen`);
    if (name === id) {
      say(`${id} is ${stops + 1} × ${key} away`);
      return;
    }
  }
  assert.fail(`${id} cannot be reached by ${key}`);
}
