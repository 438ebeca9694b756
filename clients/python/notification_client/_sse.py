from __future__ import annotations

import codecs
import re
from collections.abc import Iterator

_LINE_END = re.compile("\r\n|\r|\n")


class SseParser:
    """Reads a ``text/event-stream`` as it comes (WHATWG HTML, section 9.2)."""

    def __init__(self, last_event_id: str = "") -> None:
        #: Where to resume: the newest id, also of an event without data.
        self.last_event_id = last_event_id
        #: How long to wait before coming back, in ms, if the server said.
        self.retry: int | None = None
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
        self._rest = ""
        self._after_cr = False
        self._data: list[str] = []
        self._id: str | None = None

    def push(self, chunk: bytes) -> Iterator[str]:
        """The data of the events that ``chunk`` completes."""
        text = self._decoder.decode(chunk)
        if not text:
            return
        if self._after_cr and text.startswith("\n"):
            text = text[1:]  # it belongs to the CR before it
        self._after_cr = text.endswith("\r")
        *lines, self._rest = _LINE_END.split(self._rest + text)
        for line in lines:
            data = self._take(line)
            if data:
                yield data

    def _take(self, line: str) -> str | None:
        if not line:
            return self._dispatch()
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            self._data.append(value)
        elif field == "id" and "\0" not in value:
            self._id = value
        elif field == "retry" and value.isascii() and value.isdigit() and len(value) < 10:
            self.retry = int(value)
        return None

    def _dispatch(self) -> str:
        if self._id is not None:
            self.last_event_id, self._id = self._id, None
        data, self._data = "\n".join(self._data), []
        return data
