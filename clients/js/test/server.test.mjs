// Against the real server: cuts, restarts, kill -9, keys, and what the README says.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile, mkdtemp, rm, writeFile, mkdir, symlink } from 'node:fs/promises';
import net from 'node:net';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { Api, connect, NotificationError } from '../dist/index.js';
import { NotificationServer } from '../../../tests/browser/server.mjs';

const TIMEOUT = { timeout: 60_000 };

/** Passes connections on, until it cuts them. */
async function proxy(t, port) {
  const sockets = new Set();
  const server = net.createServer((socket) => {
    const upstream = net.connect(port, '127.0.0.1');
    for (const end of [socket, upstream]) {
      sockets.add(end);
      end.on('error', () => undefined).on('close', () => { sockets.delete(end); socket.destroy(); upstream.destroy(); });
    }
    socket.pipe(upstream).pipe(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const cut = () => { for (const socket of sockets) socket.destroy(); };
  t.after(() => { cut(); server.close(); });
  return { url: `http://127.0.0.1:${server.address().port}`, cut };
}

/** Resolves when so many have come. */
function collect(options) {
  const events = [];
  const waiting = [];
  const check = () => waiting.forEach(([count, resolve]) => { if (events.length >= count) resolve(); });
  const connection = connect({ ...options, onEvent: (event) => { events.push(event); check(); } });
  const opened = new Promise((resolve, reject) => {
    const look = setInterval(() => {
      if (connection.state === 'open' && connection.connectionId) { clearInterval(look); resolve(); }
      if (connection.state === 'closed') { clearInterval(look); reject(new Error('closed')); }
    }, 5);
  });
  const arrival = (count) => new Promise((resolve) => { waiting.push([count, resolve]); check(); });
  return { connection, events, opened, arrival };
}

test('nothing is lost or doubled by cuts, restarts and kill -9', TIMEOUT, async (t) => {
  const server = await NotificationServer.start(t);
  const between = await proxy(t, new URL(server.origin).port);
  const { connection, events, opened, arrival } = collect({ url: between.url, sleep: (_, signal) => pause(signal) });
  await opened;
  const api = new Api({ url: server.origin });
  let sent = 0;
  for (const round of ['cut', 'restart', 'kill', 'cut']) {
    for (let i = 0; i < 20; i++) {
      await api.notify(String(sent++));
      if (i === 10 && round === 'cut') between.cut();
    }
    if (round === 'restart') { await server.stop(); await server.start(); }
    if (round === 'kill') { await server.kill(); await server.start(); }
  }
  await arrival(sent);
  assert.deepEqual(events.map((event) => Number(event.message)), [...Array(sent).keys()]);
  connection.close();
  assert.equal(await connection.closed, undefined);
});

const pause = (signal) => new Promise((resolve) => { setTimeout(resolve, 50); signal.addEventListener('abort', resolve); });

test('an iterator gets all of a backlog, however slow, and ends when it is left', TIMEOUT, async (t) => {
  const server = await NotificationServer.start(t);
  const api = new Api({ url: server.origin });
  for (let i = 0; i < 5; i++) {
    await api.publish(Array.from({ length: 1000 }, (_, j) => ({ type: 'notification', message: String(i * 1000 + j) })));
  }
  const connection = connect({ url: server.origin, since: 'all' });
  let next = 0;
  for await (const event of connection) {
    assert.equal(event.message, String(next++));
    if (next % 1000 === 0) await new Promise((resolve) => setTimeout(resolve, 20));
    if (next === 5000) break;
  }
  assert.equal(await connection.closed, undefined);
});

test('a refusal is an error that names what is wrong', TIMEOUT, async (t) => {
  const server = await NotificationServer.start(t);
  const connection = connect({ url: server.origin, topics: ['a//b'] });
  await assert.rejects(async () => { for await (const _ of connection); }, (error) => {
    assert.ok(error instanceof NotificationError);
    assert.deepEqual([error.kind, error.status, error.fields[0].field], ['refused', 400, 'topic']);
    return true;
  });
  const api = new Api({ url: server.origin });
  await assert.rejects(api.notify(''), { kind: 'refused', status: 422 });
  await server.stop();
  await assert.rejects(api.notify('x'), { kind: 'unavailable', status: 0 });
});

test('a key that is revoked ends the stream; another is asked for', TIMEOUT, async (t) => {
  const server = await NotificationServer.startSecured(t);
  const keys = [await server.createKey('one', ['subscribe:**']), await server.createKey('two', ['subscribe:**'])];
  const { keys: listed } = await (await server.ask('GET', '/v1/keys')).json();
  const asked = [];
  const credential = () => { asked.push(keys[asked.length]); return asked.at(-1); };
  const statuses = [];
  const { connection, opened, arrival } = collect({
    url: server.origin, credential, onStatus: (status) => statuses.push(status.status), sleep: (_, signal) => pause(signal),
  });
  await opened;
  const revoked = await server.ask('DELETE', `/v1/keys/${listed.find((key) => key.name === 'one').id}`);
  assert.equal(revoked.status, 204);
  await server.publish('after');
  await arrival(1);
  assert.deepEqual(asked, keys);
  assert.deepEqual(statuses, ['connected', 'unauthorized', 'connected']);
  connection.close();

  const wrong = connect({ url: server.origin, credential: 'wrong' });
  assert.equal((await wrong.closed).kind, 'unauthorized');
  const none = connect({ url: server.origin });
  assert.equal((await none.closed).kind, 'unauthorized');
});

test('tickets open one stream each', TIMEOUT, async (t) => {
  const server = await NotificationServer.startSecured(t);
  const between = await proxy(t, new URL(server.origin).port);
  let tickets = 0;
  const ticket = async () => {
    tickets += 1;
    return (await (await server.ask('POST', '/v1/tickets', { topics: ['ops/**'] })).json()).ticket;
  };
  const { connection, events, opened, arrival } = collect({ url: between.url, ticket, sleep: (_, signal) => pause(signal) });
  await opened;
  await server.ask('POST', '/v1/events', { type: 'notification', message: 'one', topic: 'ops/a' });
  await arrival(1);
  between.cut();
  await server.ask('POST', '/v1/events', { type: 'notification', message: 'elsewhere', topic: 'other' });
  await server.ask('POST', '/v1/events', { type: 'notification', message: 'two', topic: 'ops/a' });
  await arrival(2);
  assert.deepEqual(events.map((event) => event.message), ['one', 'two']);
  assert.equal(tickets, 2);
  connection.close();
});

test('a durable client acknowledges', TIMEOUT, async (t) => {
  const server = await NotificationServer.start(t);
  const options = { url: server.origin, clientId: 'alice', durable: true, ack: 'manual' };
  const first = collect(options);
  await first.opened;
  for (const message of ['one', 'two']) await server.publish(message);
  await first.arrival(2);
  await first.connection.acknowledge(first.events[0]);
  first.connection.close();
  await first.connection.closed;
  const second = collect(options);
  await second.arrival(1);
  assert.equal(second.events[0].message, 'two');
  await second.connection.acknowledge({ cursor: second.connection.cursor });
  second.connection.close();
});

test('a task is reported in as few reports as it takes', TIMEOUT, async (t) => {
  const server = await NotificationServer.start(t);
  const api = new Api({ url: server.origin });
  const task = api.task('Import', { total: 1000, topic: 'jobs' });
  for (let i = 0; i < 1000; i++) task.advance();
  await task.complete();
  const [shown] = await api.tasks();
  assert.deepEqual([shown.task_id, shown.task_name, shown.state, shown.step, shown.topic], [task.id, 'Import', 'completed', 1000, 'jobs']);
  const { events } = await api.events({ types: ['progress'] });
  assert.ok(events.length < 10, `${events.length} reports`);
  const failed = api.task('Export');
  failed.advance(1, 'one row');
  await failed.fail('no disk');
  assert.deepEqual((await api.tasks({ states: ['failed'] })).map((task) => task.message), ['no disk']);
});

test('what the README says works', TIMEOUT, async (t) => {
  const server = await NotificationServer.start(t);
  const readme = await readFile(new URL('../README.md', import.meta.url), 'utf8');
  const examples = [...readme.matchAll(/```js\n([^]*?)```/g)].map(([, code]) => code);
  const dir = await mkdtemp(join(tmpdir(), 'notification-client-'));
  t.after(() => rm(dir, { recursive: true }));
  await mkdir(join(dir, 'node_modules/@notification-server'), { recursive: true });
  await symlink(fileURLToPath(new URL('..', import.meta.url)), join(dir, 'node_modules/@notification-server/client'));
  const run = async (name, code) => {
    await writeFile(join(dir, name), code.replaceAll('http://127.0.0.1:8005', server.origin));
    return (await promisify(execFile)(process.execPath, [name], { cwd: dir, timeout: 20_000 })).stdout;
  };
  assert.equal(await run('first.mjs', examples[0]), 'Backup done\n');
  // The second one, with the functions of a page, where everybody says who they are.
  const secured = await NotificationServer.startSecured(t);
  const key = await secured.createKey('page', ['publish:**', 'subscribe:**']);
  const page = `
    const said = [];
    const note = (name) => (value) => { said.push(name); };
    const [show, warn, light, giveUp] = ['show', 'warn', 'light', 'giveUp'].map(note);
    const currentToken = () => '${key}';
    ${examples[1].replace('https://events.example.com', secured.origin).replace('minPriority: 4', "minPriority: 4, since: 'all'")}
    await connection.api.notify('Look', { topic: 'ops/x', priority: 5 });
    while (!said.includes('show')) await new Promise((resolve) => setTimeout(resolve, 10));
    console.log(said.join(' '));
    connection.close();`;
  assert.equal(await run('second.mjs', page), 'light show\n');
  const third = await run('third.mjs', examples[2]);
  assert.match(third, /^422 \[/);
  assert.match(third, /field: 'message'/);
  const api = new Api({ url: server.origin });
  assert.equal((await api.tasks())[0].message, 'Imported');
});
