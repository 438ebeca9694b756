// The clients for JavaScript, Python and Rust (as the command `tail` uses it) on one
// server at once: whatever happens to it and to their connections, each hands on the
// same events, in order, each once.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { BINARY, NotificationServer } from '../browser/server.mjs';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const PYTHON = `${ROOT}target/test-venv/bin/python`;

const PROGRAMS = {
  javascript: [process.execPath, ['--input-type=module', '--eval', `
    import { connect } from '${ROOT}clients/js/dist/index.js';
    const connection = connect({ url: process.env.URL, credential: process.env.KEY, topics: ['shop/**'] });
    for await (const event of connection) console.log(event.message);`]],
  python: [PYTHON, ['-u', '-c', `
import os
from notification_client import Client
for event in Client(os.environ["URL"], credential=os.environ["KEY"]).stream(topics=["shop/**"]):
    print(event["message"])`]],
  'python with asyncio': [PYTHON, ['-u', '-c', `
import asyncio, os
from notification_client import AsyncClient
async def main():
    async for event in AsyncClient(os.environ["URL"], credential=os.environ["KEY"]).stream(topics=["shop/**"]):
        print(event["message"])
asyncio.run(main())`]],
  rust: [BINARY, ['tail', 'shop/**', '--json']],
};

/** Those that can be told where to get another credential. */
const RENEWING = {
  javascript: [process.execPath, ['--input-type=module', '--eval', `
    import { readFileSync } from 'node:fs';
    import { connect } from '${ROOT}clients/js/dist/index.js';
    const credential = () => readFileSync(process.env.KEY_FILE, 'utf8');
    for await (const event of connect({ url: process.env.URL, credential })) console.log(event.message);`]],
  python: [PYTHON, ['-u', '-c', `
import os, pathlib
from notification_client import Client
for event in Client(os.environ["URL"], credential=pathlib.Path(os.environ["KEY_FILE"]).read_text).stream():
    print(event["message"])`]],
  'python with asyncio': [PYTHON, ['-u', '-c', `
import asyncio, os, pathlib
from notification_client import AsyncClient
async def main():
    async for event in AsyncClient(os.environ["URL"], credential=pathlib.Path(os.environ["KEY_FILE"]).read_text).stream():
        print(event["message"])
asyncio.run(main())`]],
};

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
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const cut = () => { for (const socket of sockets) socket.destroy(); };
  t.after(() => { cut(); server.close(); });
  return { url: `http://127.0.0.1:${server.address().port}`, cut };
}

/** Starts one client; what it has printed, and a promise of so many lines. */
function start(t, name, env, programs = PROGRAMS) {
  const [program, args] = programs[name];
  const child = spawn(program, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  t.after(() => child.kill());
  const lines = [];
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text) => { said += text; });
  let check = () => undefined;
  createInterface(child.stdout).on('line', (line) => {
    lines.push(name === 'rust' ? JSON.parse(line).message : line);
    check();
  });
  const arrival = (count) => new Promise((resolve, reject) => {
    check = () => { if (lines.length >= count) resolve(lines); };
    child.once('exit', (code) => reject(new Error(`${name} ended with ${code}: ${said}`)));
    check();
  });
  return { name, lines, arrival, child, said: () => said };
}

test('every client hands on the same, whatever happens', { timeout: 120_000 }, async (t) => {
  const server = await NotificationServer.startSecured(t, '[stream]\nretry_min_ms = 100\nretry_max_ms = 300\n');
  const key = await server.createKey('listener', ['subscribe:shop/**']);
  const between = await proxy(t, new URL(server.origin).port);
  const env = { URL: between.url, KEY: key, NOTIFICATION_URL: between.url, NOTIFICATION_KEY: key, HOME: '/nonexistent' };
  const clients = Object.keys(PROGRAMS).map((name) => start(t, name, env));
  const connections = async () => (await (await server.ask('GET', '/v1/connections')).json()).connections.length;
  for (let i = 0; await connections() < clients.length; i++) {
    assert.ok(i < 600, `${await connections()} clients came: ${clients.map((client) => client.said()).join()}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  const expected = [];
  const publish = async (count) => {
    for (let i = 0; i < count; i++) {
      const message = `event ${expected.length}`;
      const topic = `shop/${i % 3}`;
      // What is for others comes in between.
      const events = [{ type: 'notification', message, topic }, { type: 'notification', message: 'not theirs', topic: 'other' }];
      const response = await server.ask('POST', '/v1/events', events);
      assert.equal(response.status, 201);
      expected.push(message);
    }
  };
  await publish(20);
  between.cut();
  await publish(20);
  await server.kill();
  await server.start();
  await publish(20);
  between.cut();
  await server.stop();
  await server.start();
  await publish(20);
  between.cut();
  await publish(20);
  for (const client of clients) {
    assert.deepEqual(await client.arrival(expected.length), expected, client.name);
  }

  // And a credential that is revoked ends them all, with a word why.
  const { keys } = await (await server.ask('GET', '/v1/keys')).json();
  const ended = clients.map((client) => once(client.child, 'exit'));
  await server.ask('DELETE', `/v1/keys/${keys.find((it) => it.name === 'listener').id}`);
  for (const [i, [code]] of (await Promise.all(ended)).entries()) {
    assert.equal(code, 1, clients[i].name);
    assert.match(clients[i].said(), /credential|revoked|not known|no longer|unauthorized/i, clients[i].name);
  }
});

test('a client comes back with another credential before its own ends', { timeout: 120_000 }, async (t) => {
  const server = await NotificationServer.startSecured(t, '[stream]\nheartbeat_seconds = 1\n');
  const soon = new Date(Date.now() + 25_000).toISOString();
  const first = await server.createKey('first', ['subscribe:**'], { expires_at: soon });
  const second = await server.createKey('second', ['subscribe:**']);
  const directory = await mkdtemp(join(tmpdir(), 'notification-clients-'));
  t.after(() => rm(directory, { recursive: true }));
  const file = join(directory, 'key');
  await writeFile(file, first);
  const env = { URL: server.origin, KEY_FILE: file };
  const clients = Object.keys(RENEWING).map((name) => start(t, name, env, RENEWING));
  const principals = async () => {
    const { connections } = await (await server.ask('GET', '/v1/connections')).json();
    return connections.map(({ principal }) => principal);
  };
  const until = async (what, check) => {
    for (let i = 0; !check(await principals()); i++) {
      assert.ok(i < 600, `never: ${what}: ${await principals()}; ${clients.map((client) => client.said()).join()}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  };
  await until('all have come', (all) => all.length === clients.length);
  await writeFile(file, second);
  const publish = (message) => server.ask('POST', '/v1/events', { type: 'notification', message });
  const expected = [];
  // One a second, so that some fall into the change.
  for (let i = 0; (await principals()).some((principal) => principal !== 'key:second' && principal !== 'second') || i < 3; i++) {
    assert.ok(Date.now() < Date.parse(soon) + 1_000, `${await principals()}`);
    assert.equal((await publish(String(i))).status, 201);
    expected.push(String(i));
    await new Promise((resolve) => setTimeout(resolve, 1_000));
  }
  for (const client of clients) assert.deepEqual(await client.arrival(expected.length), expected, client.name);
});
