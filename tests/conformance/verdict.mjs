/** The kinds of reasons in expected.yaml for which a check does not pass. */
export const KINDS = ['fails', 'not applicable'];

/** The check of every scenario that all that the server has said fits the schema. */
const WIRE = 'wire-schema-valid';

/**
 * Compares what scenarios came to with what was expected of them. Each verdict has the number of its checks
 * that passed and of those that did not, by the kind of the reason, these reasons, and what is not as expected.
 */
export function compare(expected, results) {
  const names = new Set([...Object.keys(expected), ...Object.keys(results)]);
  return [...names].map((scenario) => ({ scenario, ...verdict(scenario, expected[scenario], results[scenario]) }));
}

function verdict(scenario, entry, checks) {
  const counts = { passed: 0, fails: 0, 'not applicable': 0 };
  if (!checks) {
    const problem = 'has no result: the suite does not have it any more, or it did not come to its end';
    return { counts, reasons: [], problems: [problem] };
  }
  const { passed, open } = outcome(checks);
  const passes = open.size === 0 && [...passed].some((check) => check !== WIRE);
  counts.passed = passed.size;
  if (entry === undefined) {
    counts.fails = open.size;
    return { counts, reasons: [], problems: [`is not in the list; it ${passes ? 'passes' : 'does not pass'}`] };
  }
  const { whole, byCheck } = reasonsOf(scenario, entry);
  const reasons = new Set();
  const problems = [];
  if (passes && whole) problems.push('passes now');
  if (!passes && !whole && open.size === 0) problems.push('checked nothing');
  for (const [check, why] of open) {
    const reason = byCheck.get(check) ?? (check === WIRE ? undefined : whole);
    counts[reason?.kind ?? 'fails'] += 1;
    if (reason) reasons.add(reason.text);
    else problems.push(`${check}: ${why}`);
  }
  for (const check of byCheck.keys()) {
    if (!open.has(check)) problems.push(`${check}: ${passed.has(check) ? 'passes now' : 'is not checked any more'}`);
  }
  if (whole) reasons.add(whole.text);
  return { counts, reasons: [...reasons], problems };
}

/** The checks that passed, and the others with what the suite says of them. One may have been made several times. */
function outcome(checks) {
  const open = new Map();
  const made = checks.filter(({ status }) => status !== 'INFO');
  for (const { id, status, errorMessage, description } of made) {
    if (status !== 'SUCCESS') open.set(id, `${status}: ${errorMessage ?? description}`);
  }
  const passed = new Set(made.map(({ id }) => id).filter((id) => !open.has(id)));
  return { passed, open };
}

/** The reason for the whole scenario, or those for single checks. */
function reasonsOf(scenario, entry) {
  const byCheck = new Map();
  if (entry === 'passes') return { byCheck };
  const malformed = new Error(`expected.yaml: ${scenario}: expected passes, or reasons under ${KINDS.join(' and ')}`);
  const kinds = Object.entries(entry ?? {});
  if (typeof entry === 'string' || kinds.length === 0) throw malformed;
  for (const [kind, reasons] of kinds) {
    if (!KINDS.includes(kind) || !reasons) throw malformed;
    if (typeof reasons === 'string') {
      if (kinds.length > 1) throw malformed;
      return { byCheck, whole: { kind, text: reasons } };
    }
    for (const [check, text] of Object.entries(reasons)) {
      if (typeof text !== 'string' || text === '') throw malformed;
      byCheck.set(check, { kind, text });
    }
  }
  return { byCheck };
}

/** What people read. */
export function table(title, verdicts) {
  const width = Math.max(...verdicts.map(({ scenario }) => scenario.length));
  const line = (name, numbers, reasons = []) =>
    [name.padEnd(width), ...numbers.map((n) => String(n).padStart(7)), '', reasons.join('; ')].join(' ').trimEnd();
  const numbers = ({ passed, ...others }) => [passed, ...KINDS.map((kind) => others[kind])];
  const total = verdicts.map(({ counts }) => numbers(counts)).reduce((sum, row) => sum.map((n, i) => n + row[i]));
  return [
    line(title, ['passed', 'failed', 'n/a']),
    ...verdicts.map(({ scenario, counts, reasons }) => line(scenario, numbers(counts), reasons)),
    line('checks in all', total),
  ].join('\n');
}
