"""The cases that all clients have in common: ../../../spec."""

import asyncio
import http.server
import json
import pathlib
import threading
import unittest
from unittest import mock

from notification_client import AsyncClient, Client, NotificationError
from notification_client._course import backoff
from notification_client._errors import refusal
from notification_client._query import StreamOptions
from notification_client._sse import SseParser

SPEC = pathlib.Path(__file__).parents[3] / "spec"


def spec(name):
    return json.loads((SPEC / f"{name}.json").read_text())


class WireTest(unittest.TestCase):
    def test_sse(self):
        for case in spec("sse"):
            with self.subTest(case["name"]):
                parser = SseParser()
                pieces = [text.encode() for text in case.get("chunks", [])]
                pieces += [bytes.fromhex(piece) for piece in case.get("chunks_hex", [])]
                read = [data for piece in pieces for data in parser.push(piece)]
                self.assertEqual(read, case["messages"])
                self.assertEqual(parser.last_event_id or None, case["last_event_id"])
                self.assertEqual(parser.retry, case["retry"])

    def test_query(self):
        for case in spec("query"):
            with self.subTest(case["name"]):
                query = StreamOptions(**case["options"]).query()
                self.assertEqual(f"/v1/stream{query and '?'}{query}", case["path"])
        with self.assertRaises(TypeError):
            StreamOptions(topics="ops").query()

    def test_backoff(self):
        for case in spec("backoff")["cases"]:
            with self.subTest(case):
                wait = backoff(case["failures"], case["retry"], case["retry_after"], case["random"])
                self.assertEqual(wait, case["wait"])

    def test_problems(self):
        for case in spec("problems"):
            with self.subTest(case["name"]):
                error = refusal(case["status"], case["headers"], case["body"].encode())
                is_error = {
                    "kind": error.kind,
                    "status": error.status,
                    "detail": error.detail,
                    "fields": [field["field"] for field in error.fields],
                    "retry_after": error.retry_after,
                }
                self.assertEqual(is_error, case["error"])

    def test_streams(self):
        for case in spec("streams"):
            for follow in (follow_sync, follow_async):
                with self.subTest(case["name"], follow=follow.__name__):
                    with Script(case) as script, mock.patch("notification_client._course.backoff", return_value=0):
                        items, error = follow(script)
                    expected = case["expect"]
                    self.assertEqual(items, expected["items"])
                    self.assertEqual(script.requests, expected["requests"])
                    self.assertEqual(error, expected.get("error"))


def follow_sync(script):
    items = []
    client = Client(script.url, credential=script.credential())
    stream = client.stream(on_status=lambda status: items.append(status["status"]))
    try:
        for event in stream:
            items.append(event["event_id"])
            if script.is_over(items):
                break
    except NotificationError as error:
        return items, error.kind
    finally:
        stream.close()
        client.close()
    return items, None


def follow_async(script):
    async def run():
        items = []
        async with AsyncClient(script.url, credential=script.credential()) as client:
            stream = client.stream(on_status=lambda status: items.append(status["status"]))
            try:
                async for event in stream:
                    items.append(event["event_id"])
                    if script.is_over(items):
                        break
            except NotificationError as error:
                return items, error.kind
            finally:
                await stream.aclose()
        return items, None

    return asyncio.run(run())


class Script:
    """A server that answers one connection after the other as a case says."""

    def __init__(self, case):
        self.case = case
        self.requests = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(handler):
                self.answer(handler)

            def log_message(handler, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._done = threading.Event()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self._done.set()
        self._server.shutdown()
        self._server.server_close()

    def credential(self):
        left = list(self.case.get("credentials", []))
        return (lambda: left.pop(0)) if len(left) > 1 else left[0] if left else None

    def is_over(self, items):
        return len(items) == len(self.case["expect"]["items"]) and "error" not in self.case["expect"]

    def answer(self, handler):
        asked = {}
        if place := handler.headers.get("last-event-id"):
            asked["last_event_id"] = place
        if key := handler.headers.get("authorization"):
            asked["authorization"] = key
        self.requests.append(asked)
        connections = self.case["connections"]
        at = len(self.requests) - 1
        connection = connections[at] if at < len(connections) else {"body": ":\n\n"}
        status = connection.get("status", 200)
        handler.send_response(status)
        for name, value in connection.get("headers", {"content-type": "text/event-stream"}).items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(connection["body"].encode())
        # The last one stays open: a client that wants no more closes it.
        if at >= len(connections) - 1 and status == 200 and "error" not in self.case["expect"]:
            handler.wfile.flush()
            self._done.wait(30)


if __name__ == "__main__":
    unittest.main()
