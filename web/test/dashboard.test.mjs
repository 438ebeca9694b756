// The dashboard in a real Chromium, against the real server.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';

import { NotificationServer } from '../../tests/browser/server.mjs';
import { ask, busyServer, NAMES, openPage, PAGES } from './scene.mjs';

const TIMEOUT = { timeout: 180_000 };
const AXE = await readFile(new URL('../node_modules/axe-core/axe.min.js', import.meta.url), 'utf8');

/** What makes the page hard to use for some (WCAG 2.2, A and AA). */
async function barriers(page) {
  // In a world of its own: the page's policy lets nothing else run.
  const found = await page.evaluate(`${AXE}; axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] })`);
  return found.violations.map((it) => `${it.id}: ${it.nodes.map((node) => node.html).slice(0, 3).join(' | ')}`);
}

const rows = (page) => page.locator('.row');
const text = (page, content) => page.getByText(content, { exact: false }).first();

test('every page is there, and usable by all, in light and dark', TIMEOUT, async (t) => {
  const { server } = await busyServer(t);
  const { page, wrong } = await openPage(t, server);
  for (const scheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme: scheme, reducedMotion: 'reduce' });
    for (const path of PAGES) {
      await page.getByRole('link', { name: NAMES[path], exact: true }).click();
      await page.getByRole('heading', { level: 1, name: NAMES[path] }).waitFor();
      await page.waitForLoadState('networkidle').catch(() => undefined);
      if (path === 'overview') await page.locator('canvas').first().waitFor();
      assert.deepEqual(await barriers(page), [], `${path} in ${scheme}`);
      assert.equal(await page.locator('[role=alert]').count(), 0, path);
    }
  }
  // On a phone nothing is wider than the screen.
  await page.setViewportSize({ width: 360, height: 740 });
  for (const path of PAGES) {
    await page.goto(`${server.origin}/#/${path}`);
    await page.getByRole('heading', { level: 1, name: NAMES[path] }).waitFor();
    const [width, most] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    assert.ok(width <= most, `${path} is ${width} wide`);
    assert.deepEqual(await barriers(page), [], `${path} on a phone`);
  }
  assert.deepEqual(wrong, []);
});

test('events appear as they come, can be filtered, held and looked into', TIMEOUT, async (t) => {
  const { server } = await busyServer(t);
  const { page, wrong } = await openPage(t, server);
  await text(page, 'Backup of eu-west-1 done').waitFor();
  await server.publish('hello there');
  await page.locator('.row').first().getByText('hello there').waitFor();

  await page.getByLabel('Topic', { exact: true }).fill('ops/**');
  await page.waitForFunction(() => [...document.querySelectorAll('.topic')].every((it) => it.textContent.startsWith('ops')));
  await page.getByLabel('Priority').selectOption('5');
  await page.waitForFunction(() => document.querySelectorAll('.row').length === 1);
  await text(page, 'Payments').waitFor();
  await page.getByRole('button', { name: 'All', exact: true }).click();
  await page.getByLabel('Tag').fill('nightly');
  await page.waitForFunction(() => document.querySelectorAll('.row').length === 1);
  await page.getByLabel('Tag').fill('');
  await page.getByLabel('Text').fill('order.placed');
  await page.waitForFunction(() => document.querySelectorAll('.row').length === 1);
  await page.getByLabel('Text').fill('');
  await page.getByLabel('Type').selectOption('error');
  await page.waitForFunction(() => document.querySelectorAll('.row').length === 1);
  await page.getByLabel('Type').selectOption('');

  await page.getByRole('button', { name: 'Pause' }).click();
  for (let i = 0; i < 5; i++) await server.publish(`held ${i}`);
  await page.getByRole('button', { name: 'Show 5 new' }).click();
  await page.locator('.row').first().getByText('held 4').waitFor();

  // By keyboard alone: into the list, open, read, close.
  await rows(page).filter({ hasText: 'Payments' }).focus();
  await page.keyboard.press('Enter');
  const panel = page.getByRole('dialog');
  await panel.getByText('Who got it').waitFor();
  await panel.getByText('Refused by the card network').waitFor();
  await panel.getByRole('region', { name: 'Receipts' }).getByText('alice').waitFor();
  assert.deepEqual(await barriers(page), []);
  await page.keyboard.press('Escape');
  await panel.waitFor({ state: 'detached' });
  assert.deepEqual(wrong, []);
});

test('a connection that is lost is said, and so is a gap; nothing is missed', TIMEOUT, async (t) => {
  const server = await NotificationServer.startWith(t, '[stream]\nretry_min_ms = 100\nretry_max_ms = 200\n');
  const { page } = await openPage(t, server);
  await server.publish('one');
  await rows(page).first().getByText('one').waitFor();
  await server.kill();
  await page.waitForFunction(() => document.querySelector('.state').dataset.state !== 'open');
  await server.start();
  await server.publish('two');
  await rows(page).first().getByText('two').waitFor();
  await text(page, 'Connected again').waitFor();
  assert.equal(await rows(page).count(), 2);
});

test('notifications of the browser and sounds come when they were asked for, and not before', TIMEOUT, async (t) => {
  const server = await NotificationServer.start(t);
  const { page, wrong } = await openPage(t, server, '', { permissions: ['notifications'] });
  await page.evaluate(() => {
    window.shown = [];
    window.Notification = class { static permission = 'granted'; static requestPermission = async () => 'granted'; constructor(title, { body }) { window.shown.push(`${title}: ${body}`); } };
    window.sounded = 0;
    const { createOscillator } = AudioContext.prototype;
    AudioContext.prototype.createOscillator = function () { window.sounded += 1; return createOscillator.call(this); };
    // As if another tab were looked at.
    Object.defineProperty(document, 'hidden', { get: () => true });
  });
  await server.publish('unasked');
  await rows(page).first().getByText('unasked').waitFor();
  assert.deepEqual(await page.evaluate(() => [window.shown, window.sounded]), [[], 0]);
  await page.getByLabel('Desktop notifications').check();
  await page.getByLabel('Sound').check();
  await server.publish('asked for');
  await page.waitForFunction(() => window.shown.length === 1 && window.sounded === 1);
  assert.deepEqual(await page.evaluate(() => window.shown), ['default: asked for']);
  assert.deepEqual(wrong, []);
});

test('ten thousand events stay smooth', TIMEOUT, async (t) => {
  const server = await NotificationServer.start(t);
  for (let i = 0; i < 12; i++) {
    await ask(server, 'POST', '/v1/events', Array.from({ length: 1000 }, (_, j) => ({ type: 'notification', message: `event ${i * 1000 + j}` })));
  }
  const { page, wrong } = await openPage(t, server);
  await rows(page).first().getByText('event 11999').waitFor();
  // Only what is seen is drawn, wherever one is.
  assert.ok(await rows(page).count() < 60);
  await page.locator('.live').evaluate((list) => { list.scrollTop = list.scrollHeight; });
  await text(page, 'event 2000').waitFor();
  assert.ok(await rows(page).count() < 60);
  await text(page, 'older ones are in the server').waitFor();
  // What is read does not move while others come.
  await server.publish('newest');
  await page.getByRole('button', { name: 'Show 1 new' }).waitFor();
  await text(page, 'event 2000').waitFor();
  await page.getByRole('button', { name: 'Show 1 new' }).click();
  await rows(page).first().getByText('newest').waitFor();
  assert.deepEqual(wrong, []);
});

test('tasks move, stall, end, and are cancelled where they can be', TIMEOUT, async (t) => {
  const server = await NotificationServer.startWith(t, '[tasks]\nstalled_after_seconds = 2\n');
  const { page, wrong } = await openPage(t, server, 'tasks');
  await ask(server, 'PUT', '/v1/tasks/a', { task_name: 'Import', step: 1, total_steps: 4 });
  const bar = page.getByRole('progressbar', { name: 'Import' });
  await bar.waitFor();
  assert.equal(await bar.evaluate((it) => it.value), 25);
  await ask(server, 'PUT', '/v1/tasks/a', { step: 3 });
  await page.waitForFunction(() => document.querySelector('progress').value === 75);
  await page.locator('[data-state=stalled]').getByText('stalled').waitFor();
  await ask(server, 'PUT', '/v1/tasks/a', { step: 4 });
  await page.getByRole('region', { name: 'Tasks that are over' }).getByText('Import').waitFor();

  await ask(server, 'PUT', '/v1/tasks/b', { task_name: 'Somebody else’s', progress: 1 });
  const card = (name) => page.locator('li.card').filter({ hasText: name });
  await card('Somebody else’s').getByRole('button', { name: 'Cancel' }).click();
  await page.getByRole('alert').getByText('only that can end it').waitFor();
  wrong.length = 0;   // the browser notes the 409
  const call = server.callTool('simulate_progress', { task_name: 'Long', duration_seconds: 60, step_count: 20 }).catch(() => undefined);
  await card('Long').getByRole('button', { name: 'Cancel' }).click();
  await page.getByRole('region', { name: 'Tasks that are over' }).getByRole('row', { name: /Long cancelled/ }).waitFor();
  await call;
  assert.deepEqual(wrong, []);
});

test('webhooks are made, tested, watched and given another chance', TIMEOUT, async (t) => {
  const { server, to } = await busyServer(t);
  const { page, wrong } = await openPage(t, server, 'webhooks');
  await page.getByLabel('Address').fill(`${to}/new`);
  await page.getByLabel('Topics').fill('ops/**');
  await page.getByLabel('Description').fill('Newest');
  await page.getByRole('button', { name: 'Create' }).click();
  await text(page, 'whsec_').waitFor();
  await page.getByRole('row', { name: 'Newest' }).getByRole('button', { name: 'Look' }).click();
  const panel = page.getByRole('dialog');
  await panel.getByRole('button', { name: 'Test' }).click();
  await panel.locator('.timeline li[data-kind=delivered]').first().waitFor();
  await panel.getByRole('button', { name: 'Pause' }).click();
  await panel.getByRole('button', { name: 'Go on' }).waitFor();
  await panel.getByRole('button', { name: 'Close' }).click();

  await page.waitForFunction(() => document.querySelector('td.bad')?.textContent === '1');
  await page.getByRole('row', { name: 'Pager' }).getByRole('button', { name: 'Look' }).click();
  await panel.locator('.timeline li[data-kind=failed]').first().waitFor();
  assert.deepEqual(await barriers(page), []);
  await panel.getByRole('button', { name: 'Send all again' }).click();
  await panel.getByText('They are sent again.').waitFor();
  await panel.getByRole('button', { name: 'Delete' }).click();
  await panel.getByRole('button', { name: 'Really delete?' }).click();
  await panel.waitFor({ state: 'detached' });
  await page.getByRole('row', { name: 'Pager' }).waitFor({ state: 'detached' });
  assert.deepEqual(wrong, []);
});

test('an event is published with the form that its schema makes', TIMEOUT, async (t) => {
  const { server } = await busyServer(t);
  const { page } = await openPage(t, server, 'event-types');
  await page.getByRole('row', { name: 'incident.created' }).getByRole('button', { name: 'Publish' }).click();
  const form = page.getByRole('form', { name: 'Publish incident.created' });
  await form.getByLabel('severity').fill('3');
  await form.getByLabel('service').fill('search');
  await form.getByLabel('state').selectOption('open');
  await form.getByLabel('is_public').check();
  await form.getByLabel('region').fill('eu');
  assert.deepEqual(await barriers(page), []);
  await form.getByRole('button', { name: 'Publish' }).click();
  await form.getByText('It was published').waitFor();
  const { events } = await ask(server, 'GET', '/v1/events?name=incident.created');
  assert.deepEqual(events.at(-1).data, { severity: 3, service: 'search', state: 'open', is_public: true, host: { region: 'eu' } });
  assert.equal(events.at(-1).topic, 'incidents');
});

test('a notification is composed, for some', TIMEOUT, async (t) => {
  const { server } = await busyServer(t);
  const { page, wrong } = await openPage(t, server, 'compose');
  await page.getByLabel('Message').fill('Look at this');
  await page.getByLabel('Topic').fill('ops/now');
  await page.getByLabel('Type').selectOption('warning');
  await page.getByLabel('Only for groups').fill('ops');
  await page.getByRole('button', { name: 'Send' }).click();
  await text(page, 'It was sent to 2 open streams').waitFor();
  assert.deepEqual(wrong, []);
  // What the server refuses is said as it says it.
  await page.getByLabel('Topic').fill('no//topic');
  await page.getByRole('button', { name: 'Send' }).click();
  await page.getByRole('alert').getByText('topic').waitFor();
});

test('connections are closed, clients and groups shown', TIMEOUT, async (t) => {
  const { server } = await busyServer(t);
  const { page, wrong } = await openPage(t, server, 'connections');
  await page.getByRole('region', { name: 'Open streams' }).getByText('alice').waitFor();
  await page.getByRole('row', { name: /alice .*durable/ }).getByRole('button', { name: 'Close' }).click();
  await page.getByRole('button', { name: 'Really close?' }).click();
  await text(page, 'It was told to end.').waitFor();
  await page.getByRole('region', { name: 'Durable clients' }).getByText('away').waitFor();
  await page.getByRole('button', { name: 'ops 2' }).click();
  await page.getByText('bob', { exact: false }).first().waitFor();
  await page.getByLabel('Group', { exact: true }).fill('night');
  await page.getByLabel('Client', { exact: true }).fill('carol');
  await page.getByRole('button', { name: 'Put in' }).click();
  await page.getByRole('button', { name: 'night 1' }).waitFor();
  assert.deepEqual(wrong, []);
});

test('who signs in sees what the key allows, and no more', TIMEOUT, async (t) => {
  const server = await NotificationServer.startSecured(t);
  const key = await server.createKey('reader', ['subscribe:ops/**']);
  const { page } = await openPage(t, server);
  await page.getByLabel('Key or token').fill('wrong');
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('alert').waitFor();
  assert.deepEqual(await barriers(page), []);
  await page.getByLabel('Key or token').fill(key);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('heading', { level: 1, name: 'Live' }).waitFor();
  const pages = await page.getByRole('navigation', { name: 'Pages' }).getByRole('link').allTextContents();
  assert.deepEqual(pages, ['Live', 'Tasks', 'Event types']);
  await page.waitForFunction(() => document.querySelector('.state').dataset.state === 'open');
  for (const topic of ['secret', 'ops/a']) {
    await ask(server, 'POST', '/v1/events', { type: 'notification', message: `of ${topic}`, topic });
  }
  await text(page, 'of ops/a').waitFor();
  assert.equal(await rows(page).count(), 1);
  // The key itself is nowhere: a cookie that no script can read stands for it.
  await page.reload();
  await text(page, 'of ops/a').waitFor();
  assert.equal(await page.evaluate((key) => document.documentElement.outerHTML.includes(key) || JSON.stringify({ ...localStorage, ...sessionStorage }).includes(key) || document.cookie !== '', key), false);
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByLabel('Key or token').waitFor();
  const status = await page.evaluate(() => fetch('/v1/session').then((response) => response.status));
  assert.equal(status, 401);
});

test('the policy of the page lets nothing foreign run', TIMEOUT, async (t) => {
  const server = await NotificationServer.start(t);
  await ask(server, 'POST', '/v1/events', { type: 'notification', message: '<img src=x onerror="window.owned=1">', title: '<script>window.owned=1</script>' });
  const { page } = await openPage(t, server);
  await text(page, 'onerror').waitFor();
  assert.equal(await page.evaluate(() => window.owned), undefined);
  const answer = await fetch(server.origin, { headers: { accept: 'text/html' } });
  assert.match(answer.headers.get('content-security-policy'), /script-src 'self'; style-src 'self'/);
  assert.doesNotMatch(answer.headers.get('content-security-policy'), /unsafe|\*/);
});
