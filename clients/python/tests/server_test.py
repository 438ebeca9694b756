"""Against the real server: cuts, restarts, kill -9, keys, and what the README says."""

import asyncio
import logging
import pathlib
import re
import secrets
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from unittest import mock

ROOT = pathlib.Path(__file__).parents[3]
sys.path.append(str(ROOT / "tests/python"))

from cutter import Cutter  # noqa: E402
from notification_client import AsyncClient, Client, NotificationError, NotificationHandler  # noqa: E402
from server import NotificationServer  # noqa: E402

DEADLINE_SECONDS = 60
README = ROOT / "clients/python/README.md"


class ServerTest(unittest.TestCase):
    def start(self, *arguments):
        server = NotificationServer(*arguments)
        self.addCleanup(server.remove)
        server.wait_ready()
        return server

    def start_secured(self):
        """A server where everybody says who they are, and its administrator's client."""
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        admin = secrets.token_urlsafe(32)
        key_file = pathlib.Path(directory.name, "admin.key")
        key_file.write_text(admin)
        key_file.chmod(0o600)
        settings = pathlib.Path(directory.name, "settings.toml")
        settings.write_text(f'[auth]\nadmin_key_file = "{key_file}"\n')
        server = self.start("--config", str(settings))
        return server, self.client(server, credential=admin)

    def client(self, server, **options):
        client = Client(server.origin, **options)
        self.addCleanup(client.close)
        return client

    def until(self, what, check):
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not check():
            self.assertLess(time.monotonic(), deadline, f"never: {what}")
            time.sleep(0.02)

    def test_nothing_is_lost_or_doubled_by_restarts(self):
        server = self.start()
        client = self.client(server)
        stream = client.stream()
        sent, got = 60, []

        def receive():
            for event in stream:
                got.append(int(event["message"]))
                if len(got) == sent:
                    return

        with mock.patch("notification_client._course.backoff", return_value=50):
            thread = threading.Thread(target=receive, daemon=True)
            thread.start()
            self.until("it is open", lambda: stream.connection_id)
            for number in range(sent):
                client.notify(str(number))
                if number == 20:
                    server.kill()
                    server.start()
                    server.wait_ready()
                if number == 40:
                    server.stop()
                    server.start()
                    server.wait_ready()
            thread.join(DEADLINE_SECONDS)
        self.assertEqual(got, list(range(sent)))

    def test_nothing_is_lost_or_doubled_by_cuts_with_asyncio(self):
        server = self.start()

        async def run():
            async with Cutter(server.origin) as cutter, AsyncClient(cutter.origin) as client:
                publisher = AsyncClient(server.origin)
                stream = client.stream()
                got = []

                async def receive():
                    async for event in stream:
                        got.append(int(event["message"]))
                        if len(got) == 60:
                            return

                receiving = asyncio.create_task(receive())
                while not stream.connection_id:
                    await asyncio.sleep(0.01)
                for number in range(60):
                    await publisher.notify(str(number))
                    if number % 20 == 10:
                        cutter.cut()
                await asyncio.wait_for(receiving, DEADLINE_SECONDS)
                await stream.aclose()
                await publisher.aclose()
                return got

        with mock.patch("notification_client._course.backoff", return_value=50):
            self.assertEqual(asyncio.run(run()), list(range(60)))

    def test_a_refusal_is_an_error_that_names_what_is_wrong(self):
        server = self.start()
        client = self.client(server)
        with self.assertRaises(NotificationError) as refused:
            next(client.stream(topics=["a//b"]))
        self.assertEqual((refused.exception.kind, refused.exception.fields[0]["field"]), ("refused", "topic"))
        with self.assertRaises(NotificationError) as refused:
            client.notify("")
        self.assertEqual((refused.exception.status, refused.exception.fields[0]["field"]), (422, "message"))
        server.stop()
        with self.assertRaises(NotificationError) as refused:
            client.notify("x")
        self.assertEqual((refused.exception.kind, refused.exception.status), ("unavailable", 0))

    def test_a_key_that_is_revoked_ends_the_stream_and_another_is_asked_for(self):
        server, admin = self.start_secured()
        made = [admin.request("POST", "/v1/keys", {"name": name, "allow": ["subscribe:**"]}) for name in "ab"]
        left = [key["key"] for key in made]
        client = self.client(server, credential=lambda: left.pop(0))
        statuses = []
        stream = client.stream(on_status=lambda status: statuses.append(status["status"]))
        got = []
        thread = threading.Thread(target=lambda: got.append(next(stream)["message"]), daemon=True)
        thread.start()
        self.until("it is open", lambda: stream.connection_id)
        with mock.patch("notification_client._course.backoff", return_value=50):
            admin.request("DELETE", f"/v1/keys/{made[0]['id']}")
            admin.notify("after")
            thread.join(DEADLINE_SECONDS)
        self.assertEqual(got, ["after"])
        self.assertEqual(statuses, ["connected", "unauthorized", "connected"])
        with self.assertRaises(NotificationError) as refused:
            next(self.client(server, credential="wrong").stream())
        self.assertEqual(refused.exception.kind, "unauthorized")

    def test_a_stream_is_closed_from_another_thread(self):
        server = self.start()
        stream = self.client(server).stream(silence_seconds=1)
        ended = threading.Event()

        def receive():
            list(stream)
            ended.set()

        threading.Thread(target=receive, daemon=True).start()
        self.until("it is open", lambda: stream.connection_id)
        stream.close()
        self.assertTrue(ended.wait(DEADLINE_SECONDS))
        self.assertEqual(stream.state, "closed")

    def test_a_durable_client_acknowledges(self):
        server = self.start()
        client = self.client(server)
        options = {"client_id": "alice", "durable": True, "ack": "manual"}
        with client.stream(**options) as stream:
            opening = threading.Thread(target=lambda: next(stream), daemon=True)
            opening.start()
            self.until("it is open", lambda: stream.connection_id)
            first = client.notify("one")
            client.notify("two")
            opening.join(DEADLINE_SECONDS)
        client.acknowledge("alice", event_ids=[first["event_id"]])
        with client.stream(**options) as stream:
            self.assertEqual(next(stream)["message"], "two")
            client.acknowledge("alice", cursor=stream.cursor)

    def test_tasks_say_how_they_end(self):
        client = self.client(self.start())
        with client.task("Import", total=1000, topic="jobs") as task:
            for _ in range(1000):
                task.advance()
        with self.assertRaisesRegex(ValueError, "no such row"), client.task("Export"):
            raise ValueError("no such row")
        with self.assertRaises(KeyboardInterrupt), client.task("Backup"):
            raise KeyboardInterrupt
        self.assertEqual(list(client.track("abc", "Letters")), ["a", "b", "c"])

        async def run():
            async with AsyncClient(client._url) as other, other.task("Async", total=2) as task:
                await task.advance(2, "both")

        asyncio.run(run())
        shown = {task["task_name"]: (task["state"], task["message"], task.get("step")) for task in client.tasks()}
        self.assertEqual(shown["Import"][::2], ("completed", 1000))
        self.assertEqual(shown["Export"][:2], ("failed", "no such row"))
        self.assertEqual(shown["Backup"][0], "cancelled")
        self.assertEqual(shown["Letters"][::2], ("completed", 3))
        self.assertEqual(shown["Async"], ("completed", "both", 2))
        self.assertLess(len(client.events(types=["progress"], since="all")["events"]), 40)

    def test_log_records_are_published_also_after_the_server_was_away(self):
        server = self.start()
        client = self.client(server)
        logger = logging.getLogger("billing")
        logger.setLevel(logging.DEBUG)
        logger.propagate = False
        handler = NotificationHandler(server.origin, topic="logs")
        logger.addHandler(handler)
        self.addCleanup(logger.removeHandler, handler)
        logger.debug("not this")
        logger.info("one %s", 1)
        self.until("it is published", lambda: len(client.events(since="all")["events"]) == 1)
        server.kill()
        try:
            raise ValueError("no disk")
        except ValueError:
            logger.exception("two")
        server.start()
        server.wait_ready()
        handler.close()
        one, two = client.events(since="all")["events"]
        self.assertEqual((one["message"], one["notification_type"], one["topic"]), ("one 1", "info", "logs"))
        self.assertEqual((two["message"], two["notification_type"], two["priority"]), ("two", "error", 4))
        self.assertIn("ValueError: no disk", two["data"]["exception"])

    def test_what_the_readme_says_works(self):
        server = self.start()
        first, second, third, tasks, logs = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)

        def run(code):
            code = code.replace("http://127.0.0.1:8005", server.origin)
            ran = subprocess.run(
                [sys.executable, "-c", code], cwd=README.parent, capture_output=True, text=True, timeout=DEADLINE_SECONDS
            )
            self.assertEqual(ran.returncode, 0, ran.stderr)
            return ran.stdout

        self.assertEqual(run(first), "Backup done\n")
        self.assertEqual(run(third), "Backup done\n")
        run(tasks)
        run(logs)
        client = self.client(server)
        self.assertEqual({task["state"] for task in client.tasks()}, {"completed"})
        logged = client.events(topics=["logs/**"], since="all")["events"]
        self.assertEqual([event["message"] for event in logged], ["the disk is full"])

        # The second, as a page of a program that has those functions.
        secured, admin = self.start_secured()
        key = admin.request("POST", "/v1/keys", {"name": "page", "allow": ["subscribe:**"]})["key"]
        admin.notify("Look", topic="ops/x", priority=5)
        second = second.replace("https://events.example.com", secured.origin).replace("min_priority=4", "min_priority=4, since='all'")
        said = []
        names = {"current_token": lambda: key, "warn": said.append, "light": said.append}

        class Enough(Exception):
            pass

        def show(event):
            said.append(event["message"])
            raise Enough

        with self.assertRaises(Enough):
            exec(second, names | {"show": show})
        self.assertEqual(said, ["connecting", "open", "Look"])


if __name__ == "__main__":
    unittest.main()
