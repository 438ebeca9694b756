import { once } from 'node:events';
import http from 'node:http';

/** A website of one page on a loopback port, online until `close` or the end of the test `t`. */
export async function serveSite(t, html, port = 0) {
  const server = http.createServer((_request, response) => {
    response.writeHead(200, { 'Content-Type': 'text/html; charset=utf-8' }).end(html);
  });
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  const close = async () => {
    if (!server.listening) return;
    server.close();
    server.closeAllConnections();
    await once(server, 'close');
  };
  t.after(close);
  return { port: server.address().port, close };
}
