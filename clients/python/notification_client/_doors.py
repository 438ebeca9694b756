"""What is asked of a server, without asking: method, path and body of each question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

from ._query import Pairs, encode, filter_pairs

DEFAULT_URL = "http://127.0.0.1:8005"
#: Seconds: to connect, and to answer.
CONNECT_TIMEOUT = 10.0
ANSWER_TIMEOUT = 60.0


class Question(NamedTuple):
    method: str
    path: str
    body: object = None


def publish(events: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> Question:
    return Question("POST", "/v1/events", events)


def notify(message: str, fields: Mapping[str, Any]) -> Question:
    return publish({**fields, "type": "notification", "message": message})


def events(
    since: str | None, limit: int | None, client_id: str | None, filters: Mapping[str, Any]
) -> Question:
    pairs: Pairs = filter_pairs(**filters)
    pairs += [("since", since), ("limit", limit), ("client_id", client_id)]
    return Question("GET", f"/v1/events?{encode(pairs)}")


def acknowledge(client_id: str, event_ids: Sequence[str] | None, cursor: str | None) -> Question:
    if (event_ids is None) == (cursor is None):
        raise TypeError("either event_ids or cursor")
    body = {"cursor": cursor} if event_ids is None else {"event_ids": list(event_ids)}
    return Question("POST", f"/v1/clients/{quote(client_id, safe='')}/acks", body)


def tasks(topics: Sequence[str], states: Sequence[str], limit: int | None) -> Question:
    pairs: Pairs = [("topic", topic) for topic in topics]
    pairs += [("state", state) for state in states]
    pairs += [("limit", limit)]
    return Question("GET", f"/v1/tasks?{encode(pairs)}")


def report(task_id: str, fields: Mapping[str, Any]) -> Question:
    return Question("PUT", f"/v1/tasks/{quote(task_id, safe='')}", fields)


def headers(key: str | None) -> dict[str, str]:
    return {"accept": "application/json"} | ({} if key is None else {"authorization": f"Bearer {key}"})
