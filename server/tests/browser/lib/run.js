// What every scenario stands on: the browser, the launcher's help, and what is wrong with a page that should have nothing to complain of.

import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const require = createRequire(join(process.env.HUBBUB_TEST_PLAYWRIGHT, 'package.json'));
const { chromium } = require('playwright-core');

/** The source of axe-core, to be evaluated in a page. */
export const axe = () => require('axe-core').source;

/** Where the server is, as the browser sees it. */
export const url = process.env.SCENARIO_URL;

/** The folder for screenshots. */
export const output = process.env.SCENARIO_OUTPUT;

// Nothing is looked up outside, at the start or later.
const FLAGS = [
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** How long a page has for what should be there at once, in ms: the machine may be busy. */
export const PATIENCE = 15_000;

const answers = createInterface({ input: process.stdin });
const waiting = [];
answers.on('line', (line) => waiting.shift()(line));

/** Asks the launcher for something: `kill`, `start`, `token USER SECONDS`. */
export function ask(request) {
  console.log(`? ${request}`);
  return new Promise((resolve) => waiting.push(resolve));
}

const complained = new WeakMap();

/** What a page has complained of so far: errors on its console, of which a violation of its CSP is one, and exceptions. */
export const complaints = (page) => complained.get(page);

export const say = (text) => console.log(`- ${text}`);

/** Waits until `look()` gives something true, and returns that. */
export async function eventually(what, look, patience = PATIENCE) {
  const until = Date.now() + patience;
  for (;;) {
    const found = await look();
    if (found) {
      say(what);
      return found;
    }
    if (Date.now() > until) assert.fail(`never: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/**
 * Runs a scenario in a browser with an empty profile, and ends the process with what came of it. Each page of `open` has a context, so
 * cookies and storage, of its own.
 */
export async function scenario(body) {
  const browser = await chromium.launch({ executablePath: process.env.HUBBUB_TEST_CHROMIUM, args: FLAGS });
  const pages = [];
  // The launcher's end, or its patience's.
  answers.on('close', () => browser.close().finally(() => process.exit(1)));

  const open = async (path = '/', options = {}) => {
    const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, ...options });
    context.setDefaultTimeout(PATIENCE);
    const page = await context.newPage();
    pages.push(page);
    complained.set(page, []);
    page.on('console', (message) => message.type() === 'error' && complaints(page).push(message.text()));
    page.on('pageerror', (error) => complaints(page).push(String(error)));
    await page.goto(url + path);
    return page;
  };

  let code = 0;
  try {
    await body(open);
  } catch (error) {
    code = 1;
    console.log(error.stack);
    await keep(pages);
  }
  await browser.close();
  process.exit(code);
}

/** For whoever wants to know why a scenario failed. */
async function keep(pages) {
  mkdirSync(output, { recursive: true });
  for (const [index, page] of pages.entries()) {
    const file = join(output, `failed-${process.pid}-${index + 1}.png`);
    await page.screenshot({ path: file, timeout: 5_000 }).catch(() => {});
    console.log(`page ${index + 1} is in ${file}; its complaints: ${JSON.stringify(complaints(page), null, 2)}`);
  }
}
