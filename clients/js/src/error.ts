/**
 * - `refused`: asking again will not help.
 * - `unauthorized`: it is not known who asks; another credential may help.
 * - `unavailable`: later may help.
 */
export type ErrorKind = 'refused' | 'unauthorized' | 'unavailable';

/** A field or parameter that is wrong, and what it should be. */
export interface FieldError { field: string; expected: string }

/** The server refused, or could not be reached. */
export class NotificationError extends Error {
  override readonly name = 'NotificationError';
  readonly kind: ErrorKind;
  /** The HTTP status; 0 if there was no answer. */
  readonly status: number;
  /** The server's sentence. */
  readonly detail: string;
  readonly fields: FieldError[];
  /** The limit that was reached, as the server calls it. */
  readonly limit: string | undefined;
  /** Seconds, if the server said when to come back. */
  readonly retryAfter: number | undefined;

  constructor(kind: ErrorKind, status: number, detail: string, more: {
    fields?: FieldError[]; limit?: string | undefined; retryAfter?: number | undefined; cause?: unknown;
  } = {}) {
    super(detail, more.cause === undefined ? undefined : { cause: more.cause });
    this.kind = kind;
    this.status = status;
    this.detail = detail;
    this.fields = more.fields ?? [];
    this.limit = more.limit;
    this.retryAfter = more.retryAfter;
  }
}

/** What an answer that is no success says (RFC 9457). */
export async function refusal(response: Response): Promise<NotificationError> {
  const text = await response.text().catch(() => '');
  let problem: { detail?: unknown; errors?: unknown; limit?: unknown } = {};
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null) problem = value;
  } catch { /* something between us and the server answered */ }
  const seconds = response.headers.get('retry-after') ?? '';
  const { status } = response;
  const kind = status === 401 ? 'unauthorized' : isTemporary(status) ? 'unavailable' : 'refused';
  const detail = typeof problem.detail === 'string' ? problem.detail : `the answer was ${status}`;
  return new NotificationError(kind, status, detail, {
    fields: Array.isArray(problem.errors) ? problem.errors as FieldError[] : [],
    limit: typeof problem.limit === 'string' ? problem.limit : undefined,
    retryAfter: /^\d{1,9}$/.test(seconds) ? Number(seconds) : undefined,
  });
}

/** There was no answer. */
export const unreachable = (cause: unknown): NotificationError =>
  new NotificationError('unavailable', 0, `the server cannot be reached: ${reason(cause)}`, { cause });

function reason(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause);
  return cause.cause instanceof Error ? cause.cause.message : cause.message;
}

const isTemporary = (status: number): boolean => status === 408 || status === 429 || status >= 500;
