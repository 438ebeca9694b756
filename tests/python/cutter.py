"""A proxy whose connections break when a test says so."""

import asyncio
import contextlib


class Cutter:
    """Stands before an origin, at one of its own."""

    def __init__(self, origin):
        self._host, self._port = origin.removeprefix("http://").split(":")
        self._passing = set()

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.origin = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_):
        self._server.close()
        self.cut()

    def cut(self):
        """Breaks every connection there is."""
        for passing in self._passing:
            passing.cancel()

    async def _accept(self, reader, writer):
        far_reader, far_writer = await asyncio.open_connection(self._host, self._port)
        passing = asyncio.gather(_pass(reader, far_writer), _pass(far_reader, writer))
        self._passing.add(passing)
        with contextlib.suppress(asyncio.CancelledError, OSError):
            await passing
        self._passing.discard(passing)
        writer.close()
        far_writer.close()


async def _pass(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()
