"""A client of a notification server.

`Client` and `AsyncClient` publish, acknowledge, ask, and receive: ``client.stream()``
is an iterator of events that comes back where it was. `NotificationHandler` publishes
log records.

`_sse` reads the wire, `_course` keeps a stream's course over its connections without
touching a socket, and `_sync` and `_async` open the connections.
"""

from ._async import AsyncClient, AsyncStream
from ._errors import FieldError, NotificationError
from ._events import (
    ApplicationEvent,
    Event,
    NotificationEvent,
    ProgressEvent,
    Published,
    Status,
    Task,
)
from ._logging import NotificationHandler
from ._sync import Client, Stream
from ._task import AsyncTask, Task as TaskReporter

__all__ = [
    "ApplicationEvent",
    "AsyncClient",
    "AsyncStream",
    "AsyncTask",
    "Client",
    "Event",
    "FieldError",
    "NotificationError",
    "NotificationEvent",
    "NotificationHandler",
    "ProgressEvent",
    "Published",
    "Status",
    "Stream",
    "Task",
    "TaskReporter",
]
