import assert from 'node:assert/strict';
import { test } from 'node:test';

import { compare } from './verdict.mjs';

const passed = (id) => ({ id, status: 'SUCCESS' });
const not = (id, status = 'FAILURE') => ({ id, status, errorMessage: 'it broke' });

function check(expected, checks, problems, reasons = []) {
  const [verdict] = compare({ it: expected }, { it: checks });
  assert.deepEqual(verdict.problems, problems);
  assert.deepEqual(verdict.reasons, reasons);
}

test('a scenario that passes has to', () => {
  check('passes', [passed('a'), { id: 'said', status: 'INFO' }], []);
  check('passes', [passed('a'), not('b')], ['b: FAILURE: it broke']);
  check('passes', [passed('a'), not('b', 'WARNING')], ['b: WARNING: it broke']);
  check('passes', [passed('a'), not('b', 'SKIPPED')], ['b: SKIPPED: it broke']);
  check('passes', [not('a'), passed('a')], ['a: FAILURE: it broke']);
  check('passes', [passed('wire-schema-valid')], ['checked nothing']);
});

test('a scenario with a reason may not pass', () => {
  const entry = { fails: 'why' };
  check(entry, [not('a'), passed('b')], [], ['why']);
  check(entry, [{ id: 'said', status: 'INFO' }], [], ['why']);
  check(entry, [passed('a')], ['passes now'], ['why']);
  check(entry, [not('a'), not('wire-schema-valid')], ['wire-schema-valid: FAILURE: it broke'], ['why']);
});

test('a reason for a check is for that check', () => {
  const entry = { fails: { a: 'why' }, 'not applicable': { b: 'no need' } };
  check(entry, [not('a'), not('b', 'SKIPPED'), passed('c')], [], ['why', 'no need']);
  check(entry, [not('a'), not('b'), not('c')], ['c: FAILURE: it broke'], ['why', 'no need']);
  check(entry, [not('a'), passed('b')], ['b: passes now'], ['why']);
  check(entry, [not('b')], ['a: is not checked any more'], ['no need']);
  const [{ counts }] = compare({ it: entry }, { it: [not('a'), not('b'), passed('c')] });
  assert.deepEqual(counts, { passed: 1, fails: 1, 'not applicable': 1 });
});

test('scenarios come and go', () => {
  const [gone, come] = compare({ gone: 'passes' }, { come: [passed('a')] });
  assert.match(gone.problems[0], /has no result/);
  assert.match(come.problems[0], /is not in the list; it passes/);
});

test('the list is refused if it says something else', () => {
  for (const entry of ['fails', null, {}, { fails: null }, { fails: '' }, { fails: { a: '' } }, { skipped: 'why' }]) {
    assert.throws(() => check(entry, [not('a')], []), /expected.yaml: it/, JSON.stringify(entry));
  }
  assert.throws(() => check({ fails: 'a', 'not applicable': { a: 'b' } }, [not('a')], []), /expected.yaml/);
});
