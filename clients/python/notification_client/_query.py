from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote_plus


@dataclass(frozen=True, kw_only=True)
class StreamOptions:
    """What a stream can be asked for."""

    #: Patterns: ``*`` is one segment, a final ``**`` any rest.
    topics: Sequence[str] = ()
    types: Sequence[Literal["notification", "progress", "event"]] = ()
    names: Sequence[str] = ()
    min_priority: int | None = None
    tags: Sequence[str] = ()
    #: Also events for this client.
    client_id: str | None = None
    #: The server keeps this client's place.
    durable: bool = False
    #: What moves the place of a durable client: delivery (``auto``), or ``acknowledge`` (``manual``).
    ack: Literal["auto", "manual"] | None = None
    #: Where to begin: a duration (``10m``), an RFC 3339 time, a cursor, or ``all``.
    since: str | None = None
    #: First the newest state of tasks and of each collapse key.
    snapshot: bool = False
    #: At most so many events a second.
    max_rate: float | None = None

    def query(self) -> str:
        pairs = filter_pairs(self.topics, self.types, self.names, self.min_priority, self.tags)
        pairs += [("client_id", self.client_id), ("durable", self.durable or None), ("ack", self.ack)]
        pairs += [("since", self.since), ("snapshot", self.snapshot or None), ("max_rate", self.max_rate)]
        return encode(pairs)


Pairs = list[tuple[str, object]]


def filter_pairs(
    topics: Sequence[str] = (),
    types: Sequence[str] = (),
    names: Sequence[str] = (),
    min_priority: int | None = None,
    tags: Sequence[str] = (),
) -> Pairs:
    """The parameters of a filter."""
    for name, values in (("topics", topics), ("types", types), ("names", names), ("tags", tags)):
        if isinstance(values, str):
            raise TypeError(f"{name} is a list, such as [{values!r}]")
    pairs: Pairs = [("topic", topic) for topic in topics]
    pairs += [("type", kind) for kind in types]
    pairs += [("name", name) for name in names]
    pairs += [("min_priority", min_priority)]
    pairs += [("tag", tag) for tag in tags]
    return pairs


def encode(pairs: Pairs) -> str:
    """As a query; what is None is not said."""
    return "&".join(f"{name}={quote_plus(_text(value), safe='*')}" for name, value in pairs if value is not None)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
