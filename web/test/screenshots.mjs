// Draws every page, in light and dark, into docs/screenshots: `npm run screenshots`.
import { mkdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

import { busyServer, EVENTS, openPage, PAGES } from './scene.mjs';

const DIRECTORY = process.argv[2] ?? fileURLToPath(new URL('../../docs/screenshots', import.meta.url));
const SAMPLES_MS = 45_000;

const after = [];
const t = { after: (done) => after.unshift(done) };
try {
  await mkdir(DIRECTORY, { recursive: true });
  const { server, api } = await busyServer(t);
  const traffic = setInterval(() => {
    const events = Array.from({ length: 1 + Math.floor(Math.random() * 40) }, (_, i) => ({
      type: 'notification', message: `Reading ${i} of sensor ${i % 7}`, topic: `sensors/${i % 7}`, tags: ['sensor'],
    }));
    api('POST', '/v1/events', events).catch(() => undefined);
  }, 300);
  t.after(() => clearInterval(traffic));
  const { page } = await openPage(t, server, 'live');
  // For plots there has to be something to plot.
  await page.waitForTimeout(Number(process.env.SAMPLES_MS ?? SAMPLES_MS));
  clearInterval(traffic);
  await api('POST', '/v1/events', [...EVENTS, ...EVENTS].slice(0, 11));
  for (const scheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme: scheme, reducedMotion: 'reduce' });
    for (const path of PAGES) {
      await page.goto(`${server.origin}/#/${path}`);
      await page.waitForTimeout(700);
      await page.screenshot({ path: `${DIRECTORY}/${path}-${scheme}.png` });
    }
  }
  await page.goto(`${server.origin}/#/live`);
  await page.setViewportSize({ width: 390, height: 800 });
  await page.waitForTimeout(700);
  await page.screenshot({ path: `${DIRECTORY}/phone.png` });
  console.log(`Drawn into ${DIRECTORY}`);
} finally {
  for (const done of after) await done();
}
