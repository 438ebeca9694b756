"""The real server binary, started for one test."""

import os
import pathlib
import socket
import subprocess
import tempfile
import time

import requests

BINARY = os.environ.get(
    "SERVER_BINARY",
    str(pathlib.Path(__file__).parents[2] / "target/debug/notification-server"),
)
READY_DEADLINE_SECONDS = 30
STOP_DEADLINE_SECONDS = 10
POLL_SECONDS = 0.02
CALL_DEADLINE_SECONDS = 30


class NotificationServer:
    """A server with an empty data directory of its own, on a free loopback port."""

    def __init__(self, *arguments):
        self.origin = f"http://127.0.0.1:{_free_port()}"
        self._data_dir = tempfile.TemporaryDirectory(prefix="notification-python-")
        self._stderr = tempfile.TemporaryFile()
        self._arguments = arguments
        self.start()

    def start(self):
        """Starts it, again after it has ended: on the same port, with the same data."""
        self._process = subprocess.Popen(
            [
                BINARY,
                "--bind", self.origin.removeprefix("http://"),
                "--data-dir", self._data_dir.name,
                *self._arguments,
            ],
            env=_environment(),
            stdout=subprocess.DEVNULL,
            stderr=self._stderr,
        )

    def kill(self):
        """`kill -9`: it gets no chance to finish anything."""
        self._process.kill()
        self._process.wait()

    def wait_ready(self):
        """Returns once `GET /readyz` answers 200."""
        deadline = time.monotonic() + READY_DEADLINE_SECONDS
        while not self._answers_ready():
            if self._process.poll() is not None:
                raise self._failure(f"exited with {self._process.returncode} before it was ready")
            if time.monotonic() > deadline:
                raise self._failure(f"not ready after {READY_DEADLINE_SECONDS} s")
            time.sleep(POLL_SECONDS)

    def publish(self, message):
        """Publishes one notification; returns what the 201 said of it."""
        response = self._post("/v1/events", {"type": "notification", "message": message})
        if response.status_code != 201:
            raise AssertionError(f"{response.url} answered {response.status_code}: {response.text}")
        return response.json()

    def call_tool(self, name, **arguments):
        """Calls a tool on the plain lane; returns its structured content."""
        response = self._post(
            "/mcp",
            {
                "jsonrpc": "2.0",
                "method": "tools/call",
                "params": {"name": name, "arguments": arguments},
                "id": "1",
            },
        )
        answer = response.json()
        if "error" in answer or answer["result"].get("isError"):
            raise AssertionError(f"{name} failed: {answer}")
        return answer["result"]["structuredContent"]

    def stop(self):
        """Stops as an operator would, with SIGTERM; raises unless it exits with 0 in time."""
        self._process.terminate()
        try:
            code = self._process.wait(STOP_DEADLINE_SECONDS)
        except subprocess.TimeoutExpired:
            raise self._failure(f"still running {STOP_DEADLINE_SECONDS} s after SIGTERM") from None
        if code != 0:
            raise self._failure(f"exited with {code} after SIGTERM")

    def remove(self):
        """Leaves neither a process nor a file behind."""
        self._process.kill()
        self._process.wait()
        self._stderr.close()
        self._data_dir.cleanup()

    def _post(self, path, body):
        return requests.post(self.origin + path, json=body, timeout=CALL_DEADLINE_SECONDS)

    def _answers_ready(self):
        try:
            answer = requests.get(f"{self.origin}/readyz", timeout=READY_DEADLINE_SECONDS)
            return answer.status_code == 200
        except requests.RequestException:
            return False

    def _failure(self, what):
        self._stderr.seek(0)
        return AssertionError(f"{BINARY} {what}; it wrote:\n{self._stderr.read().decode()}")


def _free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def _environment():
    """Ours without the server's own settings, which would reach it from the machine it is tested on."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("NOTIFICATION_SERVER_")
    }
