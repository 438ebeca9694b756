import { chromium } from 'playwright-core';

const EXECUTABLE = '/usr/bin/chromium';

/**
 * Debian's Chromium, headless, for as long as the test `t` runs. `names` maps host
 * names to addresses in place of DNS: `{ 'evil.test': '127.0.0.1' }`.
 */
export async function openBrowser(t, names = {}) {
  const rules = Object.entries(names).map(([name, address]) => `MAP ${name} ${address}`);
  const browser = await chromium.launch({
    executablePath: EXECUTABLE,
    args: [
      '--disable-gpu',
      '--disable-quic',
      '--disable-sync',
      ...(rules.length > 0 ? [`--host-resolver-rules=${rules.join(',')}`] : []),
    ],
  });
  t.after(() => browser.close());
  return browser;
}
