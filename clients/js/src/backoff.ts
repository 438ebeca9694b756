const DEFAULT_RETRY = 2_000;
const MIN_RETRY = 100;
const MAX_WAIT = 30_000;

/**
 * How many milliseconds to wait before coming back, after so many failures in a
 * row. The server spreads its clients with `retry`; from the first failure on
 * they spread themselves.
 */
export function backoff(
  failures: number, retry: number | undefined, retryAfter: number | undefined, random: number,
): number {
  const base = Math.max(retry ?? DEFAULT_RETRY, MIN_RETRY);
  const wait = failures === 0
    ? base
    : Math.min(base * 2 ** Math.min(failures, 20), MAX_WAIT) * (0.5 + random / 2);
  return Math.max(wait, (retryAfter ?? 0) * 1_000);
}
