from __future__ import annotations

import inspect
import json
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime
from typing import Any, Literal, cast

from ._errors import NotificationError
from ._events import Event, Status
from ._sse import SseParser

#: A key or token; or what gets one, and is asked again when the last one is no longer good.
Credential = str | Callable[[], str]
AsyncCredential = str | Callable[[], str] | Callable[[], Awaitable[str]]

State = Literal["connecting", "open", "waiting", "closed"]

#: How many ids are remembered, so that no event is handed on twice.
_REMEMBERED = 10_000
_DEFAULT_RETRY_MS = 2_000
_MIN_RETRY_MS = 100
_MAX_WAIT_MS = 30_000


def backoff(failures: int, retry: int | None, retry_after: int | None, chance: float) -> float:
    """How many milliseconds to wait before coming back, after so many failures in a row.

    The server spreads its clients with ``retry``; from the first failure on they spread
    themselves.
    """
    wait: float = max(_DEFAULT_RETRY_MS if retry is None else retry, _MIN_RETRY_MS)
    if failures:
        wait = min(wait * 2 ** min(failures, 20), _MAX_WAIT_MS) * (0.5 + chance / 2)
    return max(wait, (retry_after or 0) * 1_000)


class Course:
    """A stream's course over its connections: where it is, and what follows an end."""

    def __init__(
        self,
        can_renew: bool,
        last_event_id: str,
        on_status: Callable[[Status], object] | None,
        on_gap: Callable[[Status], object] | None,
        on_state: Callable[[State], object] | None,
    ) -> None:
        self.place = last_event_id
        self.connection_id: str | None = None
        self._can_renew = can_renew
        self._on_status = on_status
        self._on_gap = on_gap
        self._on_state = on_state
        self._state: State | None = None
        self._seen: dict[str, None] = {}
        self._parser = SseParser()
        self._retry: int | None = None
        self._failures = 0
        self._rejections = 0
        self._lost_credential = False
        self._renew_at: float | None = None

    @property
    def state(self) -> State:
        return self._state or "connecting"

    @state.setter
    def state(self, state: State) -> None:
        if state != self._state:
            self._state = state
            if self._on_state:
                self._on_state(state)

    def headers(self, key: str | None) -> dict[str, str]:
        """What a new connection is asked for with."""
        self.state = "connecting"
        self._parser = SseParser(self.place)
        self._lost_credential, self._renew_at = False, None
        headers = {"accept": "text/event-stream", "cache-control": "no-store"}
        if key is not None:
            headers["authorization"] = f"Bearer {key}"
        if self.place:
            headers["last-event-id"] = self.place
        return headers

    def opened(self, content_type: str) -> None:
        if not content_type.startswith("text/event-stream"):
            raise NotificationError("refused", 200, f"the answer is no event stream, but {content_type or 'nothing'}")
        self.state = "open"
        self._failures = 0

    def events(self, chunk: bytes) -> Iterator[Event]:
        """Those that ``chunk`` completes; statuses are told on the way."""
        for data in self._parser.push(chunk):
            item = _read(data)
            if item["type"] == "status":
                self._take_status(cast(Status, item))
                continue
            event = cast(Event, item)
            if self._is_new(event["event_id"]):
                # Whoever gets it may look where to resume.
                self.place = self._parser.last_event_id
                yield event
        self.place = self._parser.last_event_id
        self._retry = self._parser.retry if self._parser.retry is not None else self._retry

    @property
    def wants_renewal(self) -> bool:
        """The credential ends soon: come back with another."""
        return self._renew_at is not None and time.monotonic() >= self._renew_at

    def wait_after(self, error: NotificationError | None = None) -> float:
        """How many seconds to wait before the next connection; raises if there is none."""
        if error is not None and error.kind == "refused":
            raise error
        if error is not None and error.kind == "unauthorized":
            self._rejections += 1
            if self._rejections > 1 or not self._can_renew:
                raise error
            return 0
        if self._lost_credential and not self._can_renew:
            raise NotificationError("unauthorized", 401, "the credential of this stream is no longer good")
        if error is None and self.wants_renewal:
            return 0
        if error is None:
            self._rejections = 0
        else:
            self._failures += 1
        self.state = "waiting"
        retry_after = error.retry_after if error else None
        return backoff(self._failures, self._retry, retry_after, random.random()) / 1_000

    def _take_status(self, status: Status) -> None:
        kind = status["status"]
        if kind == "connected":
            self.connection_id = status.get("connection_id")
        elif kind == "unauthorized":
            self._lost_credential = True
        elif kind == "credential_expiring" and self._can_renew:
            ends = datetime.fromisoformat(status["expires_at"]).timestamp()
            # When, is left to chance: others have the same to do.
            self._renew_at = time.monotonic() + max(ends - time.time(), 0) / 2 * random.random()
        if kind == "gap" and self._on_gap:
            self._on_gap(status)
        if self._on_status:
            self._on_status(status)

    def _is_new(self, event_id: str) -> bool:
        if event_id in self._seen:
            return False
        self._seen[event_id] = None
        if len(self._seen) > _REMEMBERED:
            del self._seen[next(iter(self._seen))]
        return True


def _read(data: str) -> dict[str, Any]:
    try:
        value = json.loads(data)
        if isinstance(value, dict) and isinstance(value.get("type"), str):
            return value
    except ValueError:
        pass
    return {"type": "status", "status": "unreadable", "data": data}


def current(credential: Credential | None) -> str | None:
    """The credential that is good now."""
    return credential() if callable(credential) else credential


async def current_async(credential: AsyncCredential | None) -> str | None:
    """Likewise, where getting it may take a while."""
    key = credential() if callable(credential) else credential
    return await key if inspect.isawaitable(key) else key
