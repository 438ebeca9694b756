from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence, Sized
from types import TracebackType
from typing import Any, Self, TypeVar, overload

import httpx2

from . import _doors
from ._course import Course, Credential, State, current
from ._errors import NotificationError, refusal, unreachable
from ._events import Event, Page, Published, Status, Task
from ._query import StreamOptions
from ._task import Task as TaskReporter

T = TypeVar("T")


class Client:
    """Asks a server. Threads may share one.

    ``credential`` is a key or token, or what gets one and is asked again when one is refused.
    Every method raises `NotificationError` if the server refuses or cannot be reached.
    Nothing is tried twice.
    """

    def __init__(self, url: str = _doors.DEFAULT_URL, *, credential: Credential | None = None) -> None:
        self._url = url.rstrip("/")
        self._credential = credential
        timeout = httpx2.Timeout(_doors.ANSWER_TIMEOUT, connect=_doors.CONNECT_TIMEOUT)
        # A stream takes a connection for as long as it lives.
        self._http = httpx2.Client(timeout=timeout, limits=httpx2.Limits(max_connections=None))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def notify(self, message: str, **fields: Any) -> Published:
        """Publishes a notification: ``topic``, ``notification_type``, ``title``, ``priority``, ``tags``, ``data`` …"""
        return self._ask(_doors.notify(message, fields))

    @overload
    def publish(self, events: Mapping[str, Any]) -> Published: ...
    @overload
    def publish(self, events: Sequence[Mapping[str, Any]]) -> list[Published]: ...
    def publish(self, events: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> Any:
        """Publishes an event, or up to 1,000, all or none. Then they are committed."""
        return self._ask(_doors.publish(events))

    def events(
        self, *, since: str | None = None, limit: int | None = None, client_id: str | None = None, **filters: Any
    ) -> Page:
        """A part of the log: ``topics``, ``types``, ``names``, ``min_priority``, ``tags``."""
        return self._ask(_doors.events(since, limit, client_id, filters))

    def acknowledge(
        self, client_id: str, *, event_ids: Sequence[str] | None = None, cursor: str | None = None
    ) -> dict[str, Any]:
        """Acknowledges events, or everything up to a cursor, as a client."""
        return self._ask(_doors.acknowledge(client_id, event_ids, cursor))

    def tasks(self, *, topics: Sequence[str] = (), states: Sequence[str] = (), limit: int | None = None) -> list[Task]:
        """The tasks, the most recently updated first."""
        return self._ask(_doors.tasks(topics, states, limit))["tasks"]

    def report(self, task_id: str, **fields: Any) -> Published:
        """Says how far a task is: ``task_name``, ``step``, ``total_steps``, ``progress``, ``message``, ``state`` …"""
        return self._ask(_doors.report(task_id, fields))

    def task(self, name: str, *, total: int | None = None, task_id: str | None = None, **fields: Any) -> TaskReporter:
        """A task that is yours to report of::

            with client.task("Import", total=len(rows)) as task:
                for row in rows:
                    load(row)
                    task.advance()
        """
        return TaskReporter(self.report, name, total, task_id, fields)

    def track(self, items: Iterable[T], name: str, *, total: int | None = None, **fields: Any) -> Iterator[T]:
        """The same items, one after the other, reported as a task."""
        if total is None and isinstance(items, Sized):
            total = len(items)
        with self.task(name, total=total, **fields) as task:
            for item in items:
                yield item
                task.advance()

    def stream(
        self,
        *,
        last_event_id: str = "",
        silence_seconds: float = 45,
        on_status: Callable[[Status], object] | None = None,
        on_gap: Callable[[Status], object] | None = None,
        on_state: Callable[[State], object] | None = None,
        **options: Any,
    ) -> Stream:
        """Receives events, from now on or from where the options say: see `StreamOptions`."""
        course = Course(callable(self._credential), last_event_id, on_status, on_gap, on_state)
        return Stream(self._http, self._url, self._credential, StreamOptions(**options), course, silence_seconds)

    def request(self, method: str, path: str, body: object = None) -> Any:
        """Any door of the server: the answer's JSON, None if it has none."""
        return self._ask(_doors.Question(method, path, body))

    def _ask(self, question: _doors.Question) -> Any:
        response = self._send(question)
        if response.status_code == 401 and callable(self._credential):
            response = self._send(question)  # what gives credentials may have a newer one
        if not response.is_success:
            raise refusal(response.status_code, response.headers, response.content)
        return response.json() if response.content else None

    def _send(self, question: _doors.Question) -> httpx2.Response:
        headers = _doors.headers(current(self._credential))
        try:
            return self._http.request(question.method, self._url + question.path, headers=headers, json=question.body)
        except httpx2.HTTPError as error:
            raise unreachable(error) from error


class Stream:
    """Events, one after the other, until it is closed or the server refuses for good.

    It comes back by itself after cuts and restarts, where it was.
    """

    def __init__(
        self,
        http: httpx2.Client,
        url: str,
        credential: Credential | None,
        options: StreamOptions,
        course: Course,
        silence_seconds: float,
    ) -> None:
        query = options.query()
        self._http = http
        self._url = f"{url}/v1/stream{query and '?'}{query}"
        self._credential = credential
        self._course = course
        self._timeout = httpx2.Timeout(_doors.CONNECT_TIMEOUT, read=silence_seconds)
        self._closed = threading.Event()
        self._response: httpx2.Response | None = None
        self._events = self._run()

    @property
    def cursor(self) -> str:
        """Where to resume: for ``last_event_id``, after a restart of yours."""
        return self._course.place

    @property
    def connection_id(self) -> str | None:
        return self._course.connection_id

    @property
    def state(self) -> State:
        return self._course.state

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        return next(self._events)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends it; also from another thread, where what waits for an event is over with the next sign of life."""
        self._closed.set()
        try:
            self._events.close()
        except ValueError:
            pass  # it is another thread that waits

    def _run(self) -> Generator[Event, None, None]:
        try:
            while not self._closed.is_set():
                error: NotificationError | None = None
                try:
                    yield from self._connection()
                except NotificationError as refused:
                    error = refused
                if self._closed.is_set():
                    return
                self._closed.wait(self._course.wait_after(error))
        finally:
            self._course.state = "closed"

    def _connection(self) -> Iterator[Event]:
        headers = self._course.headers(current(self._credential))
        is_open = False
        try:
            with self._http.stream("GET", self._url, headers=headers, timeout=self._timeout) as response:
                if not response.is_success:
                    raise refusal(response.status_code, response.headers, response.read())
                self._course.opened(response.headers.get("content-type", ""))
                is_open = True
                for chunk in response.iter_raw():
                    yield from self._course.events(chunk)
                    if self._closed.is_set() or self._course.wants_renewal:
                        return
        except httpx2.HTTPError as error:
            # A connection that was open and broke is no refusal.
            if not is_open:
                raise unreachable(error) from error
