"""What comes over the wire, as it is there: dictionaries."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict, Union

TaskState = Literal["running", "stalled", "completed", "failed", "cancelled"]
Json = dict[str, Any]


class _Common(TypedDict):
    event_id: str
    topic: str
    #: RFC 3339, UTC.
    timestamp: str
    title: NotRequired[str]
    #: 1 (min) to 5 (urgent); 3 if it is not there.
    priority: NotRequired[int]
    tags: NotRequired[list[str]]
    data: NotRequired[Json]
    expires_at: NotRequired[str]
    collapse_key: NotRequired[str]
    require_ack: NotRequired[bool]
    audience: NotRequired[Json]


class NotificationEvent(_Common):
    type: Literal["notification"]
    notification_id: str
    notification_type: Literal["info", "warning", "error", "success"]
    message: str


class ProgressEvent(_Common):
    type: Literal["progress"]
    task_id: str
    task_name: str
    #: Percent; not there where the total is unknown.
    progress: NotRequired[float]
    step: NotRequired[int]
    total_steps: NotRequired[int]
    message: str
    state: TaskState
    started_at: str


class ApplicationEvent(_Common):
    """An event of an application's own."""

    type: Literal["event"]
    #: Such as ``incident.created``.
    name: str


Event = Union[NotificationEvent, ProgressEvent, ApplicationEvent]


class Status(TypedDict):
    """Is about the connection, and not in the log.

    ``status`` is ``connected``, ``gap``, ``snapshot_complete``, ``conflated``, ``paused``,
    ``credential_expiring``, ``unauthorized``, ``closing``, or, said by this client of
    data that is no JSON object with a ``type``, ``unreadable``.
    """

    type: Literal["status"]
    status: str
    connection_id: NotRequired[str]
    client_count: NotRequired[int]
    timestamp: NotRequired[str]
    narrowed_to: NotRequired[list[str]]
    cursor: NotRequired[str]
    reason: NotRequired[str]
    events: NotRequired[int]
    expires_at: NotRequired[str]
    data: NotRequired[str]


class Published(TypedDict):
    """The answer to a publication, which is committed."""

    event_id: str
    cursor: str
    timestamp: str
    #: How many open streams it was for.
    subscribers: int
    #: How many durable clients it was for that are not connected.
    clients_away: int
    duplicate: NotRequired[bool]


class Task(TypedDict):
    task_id: str
    task_name: str
    state: TaskState
    progress: NotRequired[float]
    step: NotRequired[int]
    total_steps: NotRequired[int]
    message: str
    topic: str
    started_at: NotRequired[str]
    updated_at: str
    cursor: str
    event_id: str


class Page(TypedDict):
    """A part of the log."""

    events: list[Event]
    #: Where to read on.
    cursor: str
    has_more: bool
    #: Events between ``since`` and the first of these are gone.
    truncated: bool
    narrowed_to: NotRequired[list[str]]
