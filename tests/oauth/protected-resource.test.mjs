import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';

import { UnauthorizedError } from '@modelcontextprotocol/sdk/client/auth.js';
import { decodeJwt, decodeProtectedHeader } from 'jose';

import { NotificationServer, freePort } from '../browser/server.mjs';
import { AuthorizationServer } from './authorization-server.mjs';
import { User } from './user.mjs';

const TIMEOUT = { timeout: 180_000 };
/** The server fetches keys no sooner than 10 s after it last did. */
const EVENTUALLY_MS = 60_000;
const POLL_MS = 250;
const CALL = {
  jsonrpc: '2.0',
  id: 1,
  method: 'tools/call',
  params: { name: 'send_notification', arguments: { message: 'by hand' } },
};

/** Both servers, of which ours takes tokens of the other. */
async function start(t) {
  const authority = await AuthorizationServer.start(t);
  const port = await freePort();
  const auth = `
authorization_servers = ["${authority.issuer}"]
[auth.jwt]
issuer = "${authority.issuer}"
audience = ["http://127.0.0.1:${port}/mcp"]
jwks_url = "${authority.jwksUrl}"
leeway_seconds = 0
`;
  const server = await NotificationServer.startSecured(t, '', { port, auth });
  const told = () => server.log.includes('fetched the keys');
  await eventually('the keys are fetched', told);
  return { authority, server };
}

async function eventually(what, isSo) {
  const deadline = AbortSignal.timeout(EVENTUALLY_MS);
  while (!(await isSo())) {
    if (deadline.aborted) throw new Error(`this did not happen: ${what}`);
    await delay(POLL_MS);
  }
}

const send = (client, message) => client.callTool({ name: 'send_notification', arguments: { message } });

/** Calls the tool with a token as it is, which no client renews. */
async function callWith(server, token) {
  const response = await server.ask('POST', '/mcp', CALL, token);
  return { status: response.status, challenge: response.headers.get('www-authenticate'), answer: await response.json() };
}

/** The token is refused for what it is, with a challenge, and nothing is published. */
async function assertRefused(server, token, why) {
  const before = await server.messages();
  const { status, challenge, answer } = await callWith(server, token);
  assert.equal(status, 401);
  assert.match(challenge, /error="invalid_token"/);
  assert.match(answer.error.message, why);
  for (const path of ['/v1/events', '/v1/stream', '/mcp']) {
    assert.equal((await server.ask('GET', path, undefined, token)).status, 401, path);
  }
  assert.equal((await server.ask('POST', '/v1/events', { type: 'notification', message: 'm' }, token)).status, 401);
  assert.deepEqual(await server.messages(), before);
}

test('a client finds its way from the refusal to the tool', TIMEOUT, async (t) => {
  const { authority, server } = await start(t);
  const user = new User(server);

  const client = await user.connect();
  const { tools } = await client.listTools();
  assert.ok(tools.some(({ name }) => name === 'send_notification'));
  const { structuredContent } = await send(client, 'authorized');
  assert.ok(structuredContent.notification_id);
  assert.deepEqual(await server.messages(), ['authorized']);

  const path = ['POST /mcp 401', 'GET /.well-known/oauth-protected-resource/mcp 200', 'POST /reg 201', 'POST /token 200'];
  assert.deepEqual(user.requests.filter((request) => path.includes(request)).filter(isFirst), path);
  const [authorization] = user.authorizations;
  assert.equal(authorization.origin, authority.issuer);
  assert.equal(authorization.searchParams.get('resource'), `${server.origin}/mcp`);
  assert.equal(authorization.searchParams.get('code_challenge_method'), 'S256');
  const claims = decodeJwt(user.tokens().access_token);
  assert.deepEqual([claims.iss, claims.aud, claims.sub], [authority.issuer, `${server.origin}/mcp`, 'alice']);

  const receipts = await server.ask('GET', `/v1/events/${structuredContent.notification_id}/receipts`);
  assert.equal((await receipts.json()).published_by, 'token:alice');
});

test('without a token the server says where to get one', TIMEOUT, async (t) => {
  const { authority, server } = await start(t);

  for (const [method, body] of [['POST', CALL], ['GET', undefined]]) {
    const response = await server.ask(method, '/mcp', body, '');
    assert.equal(response.status, 401);
    const challenge = response.headers.get('www-authenticate');
    const where = `${server.origin}/.well-known/oauth-protected-resource/mcp`;
    assert.equal(challenge, `Bearer realm="notification-server", resource_metadata="${where}"`);
    const metadata = await (await fetch(where)).json();
    assert.equal(metadata.resource, `${server.origin}/mcp`);
    assert.deepEqual(metadata.authorization_servers, [authority.issuer]);
  }
  assert.deepEqual(await server.messages(), []);
});

for (const algorithm of ['RS256', 'ES256']) {
  test(`a token signed by ${algorithm} is taken`, TIMEOUT, async (t) => {
    const { authority, server } = await start(t);
    authority.algorithm = algorithm;
    const user = new User(server);

    await send(await user.connect(), algorithm);
    assert.equal(decodeProtectedHeader(user.tokens().access_token).alg, algorithm);
    assert.deepEqual(await server.messages(), [algorithm]);
  });
}

test('a token for another server is refused', TIMEOUT, async (t) => {
  const { server } = await start(t);
  for (const audience of ['http://127.0.0.1:1/mcp', `${server.origin}/`, `${server.origin}/mcp/more`]) {
    const user = new User(server, { audience });
    await assert.rejects(user.connect(), UnauthorizedError);
    assert.equal(decodeJwt(user.tokens().access_token).aud, audience);
    await assertRefused(server, user.tokens().access_token, /audience/);
  }
});

test('a token that was changed is refused', TIMEOUT, async (t) => {
  const { authority, server } = await start(t);
  authority.allows = (scope) => scope.startsWith('subscribe:');
  const token = await new User(server).authorize();
  const [header, payload, signature] = token.split('.');
  const encode = (json) => Buffer.from(JSON.stringify(json)).toString('base64url');
  const more = encode({ ...decodeJwt(token), scope: 'admin' });
  const none = encode({ ...decodeProtectedHeader(token), alg: 'none' });

  await assertRefused(server, [header, more, signature].join('.'), /signature/);
  await assertRefused(server, [none, more, ''].join('.'), /malformed/);
  await assertRefused(server, [none, payload, signature].join('.'), /malformed/);
});

test('a token without the scope is told which, and nothing is published', TIMEOUT, async (t) => {
  const { authority, server } = await start(t);
  authority.allows = (scope) => scope.startsWith('subscribe:');
  const token = await new User(server).authorize();
  assert.equal(decodeJwt(token).scope, 'subscribe:**');

  const { status, challenge, answer } = await callWith(server, token);
  assert.equal(status, 403);
  assert.match(challenge, /^Bearer .*error="insufficient_scope", scope="[^"]*publish:/);
  assert.match(challenge, new RegExp(`resource_metadata="${server.origin}/.well-known/oauth-protected-resource/mcp"`));
  assert.match(answer.error.message, /publish:default/);
  assert.equal(answer.id, CALL.id);
  const posted = await server.ask('POST', '/v1/events', { type: 'notification', message: 'm' }, token);
  assert.equal(posted.status, 403);
  assert.equal((await posted.json()).needs, 'publish:default');
  assert.deepEqual(await server.messages(), []);
  assert.equal((await server.ask('GET', '/v1/events', undefined, token)).status, 200);
});

test('a client that lacks a scope asks its user for it, and keeps what it had', TIMEOUT, async (t) => {
  const { authority, server } = await start(t);
  authority.allows = (scope) => scope.startsWith('subscribe:');
  const user = new User(server);
  const client = await user.connect();

  // The user still says no.
  await assert.rejects(user.authorized(() => send(client, 'not allowed')), /403/);
  assert.deepEqual(await server.messages(), []);
  assert.equal(user.authorizations.at(-1).searchParams.get('scope'), 'publish:** subscribe:**');

  authority.allows = () => true;
  const another = await user.connect();
  await user.authorized(() => send(another, 'allowed'));
  assert.deepEqual(await server.messages(), ['allowed']);
  assert.equal(decodeJwt(user.tokens().access_token).scope, 'publish:** subscribe:**');
  assert.equal((await server.ask('GET', '/v1/events', undefined, user.tokens().access_token)).status, 200);
});

test('a token for something else may do nothing', TIMEOUT, async (t) => {
  const { authority, server } = await start(t);
  authority.allows = (scope) => scope === 'acknowledge';
  const token = await new User(server).authorize();
  assert.equal(decodeJwt(token).scope, 'acknowledge');

  assert.equal((await callWith(server, token)).status, 403);
  for (const path of ['/v1/events', '/v1/stream', '/mcp', '/v1/clients', '/v1/keys']) {
    assert.equal((await server.ask('GET', path, undefined, token)).status, 403, path);
  }
  assert.deepEqual(await server.messages(), []);
});

test('an expired token is refused, and a client that can renews it', TIMEOUT, async (t) => {
  const { authority, server } = await start(t);
  authority.lifeSeconds = 1;
  const [user, other] = [new User(server, { canRefresh: true }), new User(server)];
  const [token] = await Promise.all([user.authorize(), other.authorize()]);
  await eventually('it expires', async () => (await callWith(server, token)).status === 401);
  authority.lifeSeconds = 3_600;

  await assertRefused(server, token, /expired/);
  const before = (await server.messages()).length;
  const client = await user.connect();
  await send(client, 'renewed');
  assert.deepEqual(user.authorizations.length, 1, 'without asking the user again');
  assert.deepEqual((await server.messages()).slice(before), ['renewed']);

  await send(await other.connect(), 'authorized again');
  assert.deepEqual(other.authorizations.length, 2);
});

test('keys that the authorization server changes are followed', TIMEOUT, async (t) => {
  const { authority, server } = await start(t);
  const before = await new User(server).authorize();
  assert.equal((await callWith(server, before)).status, 200);

  await authority.rotate();
  const user = new User(server);
  const after = await user.authorize();
  assert.notEqual(decodeProtectedHeader(before).kid, decodeProtectedHeader(after).kid);
  await eventually('the new key is known', async () => (await callWith(server, after)).status === 200);
  await send(await user.connect(), 'signed with the new key');
  assert.equal((await server.messages()).at(-1), 'signed with the new key');
  // Nobody vouches for the former key any longer.
  await assertRefused(server, before, /key that is not known/);
});

test('without the authorization server known tokens are good, and new keys are not', TIMEOUT, async (t) => {
  const { authority, server } = await start(t);
  const user = new User(server);
  const client = await user.connect();
  await authority.rotate();
  const unknown = await new User(server).authorize();
  await authority.vanish();

  await assertRefused(server, unknown, /key that is not known/);
  await eventually('the keys cannot be fetched', () => server.log.includes('those from before are good for a while'));
  await assertRefused(server, unknown, /key that is not known/);
  await send(client, 'meanwhile');
  assert.deepEqual(await server.messages(), ['meanwhile']);

  await authority.appear();
  await eventually('the new key is known', async () => (await callWith(server, unknown)).status === 200);
});

test('a server that has no keys yet finds no fault with a token, and does not take it', TIMEOUT, async (t) => {
  const { authority, server } = await start(t);
  const token = await new User(server).authorize();
  await authority.vanish();
  await server.stop();
  await server.start();

  const { status, challenge } = await callWith(server, token);
  assert.deepEqual({ status, challenge }, { status: 503, challenge: null });
  assert.deepEqual(await server.messages(), []);
  await authority.appear();
  await eventually('the keys are fetched', async () => (await callWith(server, token)).status === 200);
});

function isFirst(item, index, items) {
  return items.indexOf(item) === index;
}
