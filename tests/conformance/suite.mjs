import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

/** The suite needs a newer Node than other tests do. */
const NODE = here('node_modules/.bin/node');
const SUITE = here('node_modules/@modelcontextprotocol/conformance/dist/index.js');
const RESULTS = here('../../target/conformance');
const DEADLINE_MS = 300_000;

/**
 * Runs every scenario that the suite has for servers of `revision`. Resolves to the checks of each,
 * by its name. They are kept in target/conformance, too, with what the suite said.
 */
export async function runSuite(url, revision) {
  const results = `${RESULTS}/${revision}`;
  await rm(results, { recursive: true, force: true });
  await mkdir(results, { recursive: true });
  const args = ['server', '--url', url, '--requirements', revision, '--output-dir', results];
  const suite = spawn(NODE, [SUITE, ...args], { stdio: ['ignore', 'pipe', 'pipe'], timeout: DEADLINE_MS });
  let said = '';
  for (const stream of [suite.stdout, suite.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => (said += text));
  }
  const [status, signal] = await once(suite, 'close');
  await writeFile(`${results}.log`, said);
  // 1 says that a scenario did not pass, which is not for the suite to judge.
  if (status !== 0 && status !== 1) throw new Error(`the suite ended with ${signal ?? status}:\n${said}`);
  const scenarios = {};
  for (const directory of await readdir(results)) {
    const [, scenario] = /^server-(.+)-\d{4}-\d\d-\d\dT[\d-]+Z$/.exec(directory);
    scenarios[scenario] = JSON.parse(await readFile(`${results}/${directory}/checks.json`, 'utf8'));
  }
  if (Object.keys(scenarios).length === 0) throw new Error(`the suite ran no scenario:\n${said}`);
  return scenarios;
}
