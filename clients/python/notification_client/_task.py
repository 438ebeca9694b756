from __future__ import annotations

import time
import uuid
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self

from ._errors import NotificationError

#: How long reports wait for others, in seconds, so that a loop may call ``advance`` as often as it likes.
_INTERVAL = 0.25


class _Reports:
    """What there is to report, and whether it is time to."""

    def __init__(self, name: str, total: int | None, task_id: str | None, fields: dict[str, Any]) -> None:
        self.id = task_id or uuid.uuid4().hex
        self._total = total
        self._step = 0
        self._first = {"task_name": name, **fields}
        if total is not None:
            self._first |= {"step": 0, "total_steps": total}
        self._pending: dict[str, Any] = dict(self._first)
        self._sent_at = -_INTERVAL

    def note(self, fields: dict[str, Any]) -> None:
        self._step = fields.get("step", self._step)
        # The last step is not the end: that is said by itself, and may have a message.
        self._pending |= {"state": "running", **fields}

    def advanced(self, steps: int, message: str | None) -> None:
        self.note({"step": self._step + steps} | ({} if message is None else {"message": message}))

    def due(self) -> dict[str, Any] | None:
        if time.monotonic() - self._sent_at < _INTERVAL:
            return None
        self._sent_at = time.monotonic()
        pending, self._pending = self._pending, {}
        return pending or None

    def missed(self, report: dict[str, Any]) -> None:
        """It did not get through, and is made with the next one."""
        self._pending = report | self._pending

    def last(self, state: str, message: str | None) -> dict[str, Any]:
        return self._pending | {"state": state} | ({} if message is None else {"message": message})


def _end(kind: type[BaseException] | None, error: BaseException | None) -> tuple[str, str | None]:
    if kind is None:
        return "completed", None
    if issubclass(kind, Exception):
        return "failed", (str(error) or kind.__name__)[:4096]
    return "cancelled", None


class Task(_Reports):
    """Reports a task: as a context manager it completes, or fails with what was raised.

    A report that did not get through is made with the next one; the last one raises if it
    does not, unless something else was raised already.
    """

    def __init__(
        self,
        report: Callable[..., object],
        name: str,
        total: int | None,
        task_id: str | None,
        fields: dict[str, Any],
    ) -> None:
        super().__init__(name, total, task_id, fields)
        self._report = report

    def __enter__(self) -> Self:
        self._flush()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        state, message = _end(kind, error)
        try:
            self._report(self.id, **self.last(state, message))
        except NotificationError:
            if kind is None:
                raise

    def advance(self, steps: int = 1, message: str | None = None) -> None:
        """So many steps more are done."""
        self.advanced(steps, message)
        self._flush()

    def update(self, **fields: Any) -> None:
        """Says something else of it: ``progress``, ``step``, ``message``, ``data``."""
        self.note(fields)
        self._flush()

    def _flush(self) -> None:
        report = self.due()
        if report is None:
            return
        try:
            self._report(self.id, **report)
        except NotificationError:
            self.missed(report)


class AsyncTask(_Reports):
    """Likewise, to be awaited."""

    def __init__(
        self,
        report: Callable[..., Awaitable[object]],
        name: str,
        total: int | None,
        task_id: str | None,
        fields: dict[str, Any],
    ) -> None:
        super().__init__(name, total, task_id, fields)
        self._report = report

    async def __aenter__(self) -> Self:
        await self._flush()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        state, message = _end(kind, error)
        try:
            await self._report(self.id, **self.last(state, message))
        except NotificationError:
            if kind is None:
                raise

    async def advance(self, steps: int = 1, message: str | None = None) -> None:
        """So many steps more are done."""
        self.advanced(steps, message)
        await self._flush()

    async def update(self, **fields: Any) -> None:
        """Says something else of it: ``progress``, ``step``, ``message``, ``data``."""
        self.note(fields)
        await self._flush()

    async def _flush(self) -> None:
        report = self.due()
        if report is None:
            return
        try:
            await self._report(self.id, **report)
        except NotificationError:
            self.missed(report)
