from __future__ import annotations

import logging
import queue
import threading
import uuid
from typing import Any

from ._course import Credential
from ._doors import DEFAULT_URL
from ._errors import NotificationError
from ._sync import Client

#: How many records wait for the server; more are counted, and said with the next ones.
_WAITING = 10_000
_AT_ONCE = 500
_MAX_MESSAGE = 4_096
#: Seconds between attempts, and how often the last ones are tried.
_AGAIN = 1.0
_LAST_ATTEMPTS = 3


class NotificationHandler(logging.Handler):
    """Publishes log records as notifications, from a thread of its own::

        logging.getLogger().addHandler(NotificationHandler(topic="logs/billing"))

    A record becomes a notification with its message, its level as ``notification_type``, and
    ``data`` of ``logger``, ``level``, ``line`` and, if there is one, ``exception``. While the
    server cannot be reached, 10,000 records wait; how many more there were is published after
    them. ``close``, which `logging` calls when the program ends, waits for what is left.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        topic: str = "logs",
        credential: Credential | None = None,
        level: int = logging.INFO,
    ) -> None:
        super().__init__(level)
        self._topic = topic
        self._client = Client(url, credential=credential)
        self._queue: queue.Queue[dict[str, Any]] = queue.Queue(_WAITING)
        self._dropped = 0
        self._counting = threading.Lock()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="notification-logging", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        # What publishing itself logs would be published, and logged …
        if threading.current_thread() is self._thread:
            return
        try:
            self._queue.put_nowait(self._event(record))
        except queue.Full:
            self._drop(1)
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        if not self._closing.is_set():
            self._closing.set()
            self._thread.join()
            self._client.close()
        super().close()

    def _event(self, record: logging.LogRecord) -> dict[str, Any]:
        data = {"logger": record.name, "level": record.levelname, "line": f"{record.pathname}:{record.lineno}"}
        if record.exc_info:
            data["exception"] = (self.formatter or logging.Formatter()).formatException(record.exc_info)[-32_768:]
        message = self.formatter.format(record) if self.formatter else record.getMessage()
        kind = "error" if record.levelno >= logging.ERROR else "warning" if record.levelno >= logging.WARNING else "info"
        return {
            "type": "notification",
            # Publishing it again, after an answer that was lost, changes nothing.
            "event_id": uuid.uuid4().hex,
            "notification_type": kind,
            "priority": 4 if kind == "error" else 3,
            "message": (message or record.levelname)[:_MAX_MESSAGE],
            "topic": self._topic,
            "data": data,
        }

    def _run(self) -> None:
        while not (self._closing.is_set() and self._queue.empty()):
            batch = self._batch()
            if batch:
                self._publish(batch)

    def _batch(self) -> list[dict[str, Any]]:
        batch: list[dict[str, Any]] = []
        try:
            batch.append(self._queue.get(timeout=0.1))
            while len(batch) < _AT_ONCE:
                batch.append(self._queue.get_nowait())
        except queue.Empty:
            pass
        with self._counting:
            dropped, self._dropped = (self._dropped, 0) if batch else (0, self._dropped)
        if dropped:
            said = {"type": "notification", "notification_type": "warning", "topic": self._topic}
            said |= {"event_id": uuid.uuid4().hex, "message": f"{dropped} log records were not published"}
            batch.append(said)
        return batch

    def _publish(self, batch: list[dict[str, Any]]) -> None:
        attempts = 0
        while True:
            try:
                self._client.publish(batch)
                return
            except NotificationError as error:
                attempts += self._closing.is_set()
                if error.kind != "unavailable" or attempts >= _LAST_ATTEMPTS:
                    self._give_up(len(batch), error)
                    return
                self._closing.wait(error.retry_after or _AGAIN)

    def _give_up(self, count: int, error: NotificationError) -> None:
        self._drop(count)
        if logging.raiseExceptions:
            import sys

            print(f"{count} log records were not published: {error}", file=sys.stderr)

    def _drop(self, count: int) -> None:
        with self._counting:
            self._dropped += count
