import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';

import { parse } from 'yaml';

import { NotificationServer } from '../browser/server.mjs';
import { runSuite } from './suite.mjs';
import { compare, table } from './verdict.mjs';

const EXPECTED = parse(await readFile(new URL('expected.yaml', import.meta.url), 'utf8'));

for (const [revision, scenarios] of Object.entries(EXPECTED)) {
  test(`the scenarios of revision ${revision} come to what expected.yaml says`, async (t) => {
    const server = await NotificationServer.start(t);
    const verdicts = compare(scenarios, await runSuite(`${server.origin}/mcp`, revision));
    console.log(`${table(revision, verdicts)}\n`);
    const problems = verdicts.flatMap(({ scenario, problems }) => problems.map((it) => `${scenario}: ${it}`));
    if (problems.length > 0) assert.fail(`not as expected:\n${problems.join('\n')}`);
  });
}
