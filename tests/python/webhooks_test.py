"""Deliveries of the real server, verified by the official library of Standard Webhooks."""

import http.server
import tempfile
import threading
import time
import unittest

import requests
from server import NotificationServer
from standardwebhooks import Webhook, WebhookVerificationError

DEADLINE_SECONDS = 30
SETTINGS = "[webhooks]\ndev_allow_loopback = true\nsign_with_key = true\n"


class Receiver(http.server.ThreadingHTTPServer):
    """Keeps what it is sent: bodies and headers."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.received = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/"

    def wait_for(self, count):
        deadline = time.monotonic() + DEADLINE_SECONDS
        while len(self.received) < count:
            if time.monotonic() > deadline:
                raise AssertionError(f"{len(self.received)} of {count} requests came")
            time.sleep(0.02)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append((body, dict(self.headers)))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


class WebhooksTest(unittest.TestCase):
    def setUp(self):
        settings = tempfile.NamedTemporaryFile("w", suffix=".toml")
        self.addCleanup(settings.close)
        settings.write(SETTINGS)
        settings.flush()
        self.server = NotificationServer("--config", settings.name)
        self.addCleanup(self.server.remove)
        self.server.wait_ready()
        self.receiver = Receiver()
        self.addCleanup(self.receiver.server_close)
        self.addCleanup(self.receiver.shutdown)

    def create(self):
        created = requests.post(
            f"{self.server.origin}/v1/webhooks", json={"url": self.receiver.url}, timeout=30
        )
        self.assertEqual(created.status_code, 201, created.text)
        return created.json()

    def test_deliveries_are_verified(self):
        secret = self.create()["secret"]
        published = self.server.publish("Grüße 👋")
        self.receiver.wait_for(1)
        body, headers = self.receiver.received[0]
        event = Webhook(secret).verify(body, headers)
        self.assertEqual(event["message"], "Grüße 👋")
        self.assertEqual(headers["webhook-id"], published["event_id"])
        with self.assertRaises(WebhookVerificationError):
            Webhook(secret).verify(body + b" ", headers)
        with self.assertRaises(WebhookVerificationError):
            Webhook("whsec_" + "A" * 44).verify(body, headers)

    def test_either_secret_verifies_while_they_are_rotated(self):
        webhook = self.create()
        rotated = requests.post(
            f"{self.server.origin}/v1/webhooks/{webhook['id']}/rotate-secret", json={}, timeout=30
        ).json()
        self.server.publish("after")
        self.receiver.wait_for(1)
        body, headers = self.receiver.received[0]
        for secret in (webhook["secret"], rotated["secret"]):
            self.assertEqual(Webhook(secret).verify(body, headers)["message"], "after")


if __name__ == "__main__":
    unittest.main()
