// The cases that all clients have in common: ../../../spec.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { test } from 'node:test';

import { connect, NotificationError } from '../dist/index.js';
import { backoff } from '../dist/backoff.js';
import { refusal } from '../dist/error.js';
import { address, streamQuery } from '../dist/query.js';
import { SseParser } from '../dist/sse.js';

const spec = (name) => JSON.parse(readFileSync(new URL(`../../../spec/${name}.json`, import.meta.url)));

for (const { name, chunks, chunks_hex, messages, last_event_id, retry } of spec('sse')) {
  test(`sse: ${name}`, () => {
    const parser = new SseParser();
    const pieces = chunks?.map((text) => Buffer.from(text)) ?? chunks_hex.map((hex) => Buffer.from(hex, 'hex'));
    const read = pieces.flatMap((piece) => [...parser.push(piece)]).map((message) => message.data);
    assert.deepEqual(read, messages);
    assert.equal(parser.lastEventId || null, last_event_id);
    assert.equal(parser.retry ?? null, retry);
  });
}

const camel = (name) => name.replace(/_(.)/g, (_, letter) => letter.toUpperCase());

for (const { name, options, path } of spec('query')) {
  test(`query: ${name}`, () => {
    const named = Object.fromEntries(Object.entries(options).map(([key, value]) => [camel(key), value]));
    const url = address('http://127.0.0.1:8005/', '/v1/stream', streamQuery(named));
    assert.equal(url.pathname + url.search, path);
  });
}

test('backoff', () => {
  for (const { failures, retry, retry_after, random, wait } of spec('backoff').cases) {
    assert.equal(backoff(failures, retry ?? undefined, retry_after ?? undefined, random), wait);
  }
});

for (const { name, status, headers, body, error } of spec('problems')) {
  test(`problems: ${name}`, async () => {
    const is = await refusal(new Response(body, { status, headers }));
    assert.deepEqual(error, {
      kind: is.kind, status: is.status, detail: is.detail, fields: is.fields.map((one) => one.field),
      retry_after: is.retryAfter ?? null,
    });
  });
}

for (const { name, credentials, connections, expect } of spec('streams')) {
  test(`streams: ${name}`, async () => {
    const requests = [];
    const server = createServer((request, response) => {
      const asked = {};
      if (request.headers['last-event-id']) asked.last_event_id = request.headers['last-event-id'];
      if (request.headers.authorization) asked.authorization = request.headers.authorization;
      requests.push(asked);
      const { status = 200, headers = { 'content-type': 'text/event-stream' }, body } = connections[requests.length - 1]
        ?? { body: ':\n\n' };
      response.writeHead(status, headers);
      // The last one stays open: a client that wants no more closes it.
      if (requests.length < connections.length || status !== 200 || expect.error) response.end(body);
      else response.write(body);
    });
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    const left = [...credentials ?? []];
    const credential = left.length > 1 ? () => left.shift() : left[0];
    const items = [];
    const note = (item) => {
      items.push(item);
      if (items.length === expect.items.length && !expect.error) connection.close();
    };
    const connection = connect({
      url: `http://127.0.0.1:${server.address().port}`, ...credential && { credential }, sleep: async () => {},
      onEvent: (event) => note(event.event_id), onStatus: (status) => note(status.status),
    });
    const error = await connection.closed;
    server.closeAllConnections();
    server.close();
    assert.deepEqual(items, expect.items);
    assert.deepEqual(requests, expect.requests);
    assert.equal(error?.kind, expect.error);
    assert.ok(error === undefined || error instanceof NotificationError);
    assert.equal(connection.state, 'closed');
  });
}
