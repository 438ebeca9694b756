from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, overload

import httpx2

from . import _doors
from ._course import AsyncCredential, Course, State, current_async
from ._errors import NotificationError, refusal, unreachable
from ._events import Event, Page, Published, Status, Task
from ._query import StreamOptions
from ._task import AsyncTask


class AsyncClient:
    """`Client`, to be awaited, under asyncio. ``credential`` may be a coroutine function."""

    def __init__(self, url: str = _doors.DEFAULT_URL, *, credential: AsyncCredential | None = None) -> None:
        self._url = url.rstrip("/")
        self._credential = credential
        timeout = httpx2.Timeout(_doors.ANSWER_TIMEOUT, connect=_doors.CONNECT_TIMEOUT)
        # A stream takes a connection for as long as it lives.
        self._http = httpx2.AsyncClient(timeout=timeout, limits=httpx2.Limits(max_connections=None))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self._http.aclose()

    async def notify(self, message: str, **fields: Any) -> Published:
        """Publishes a notification: ``topic``, ``notification_type``, ``title``, ``priority``, ``tags``, ``data`` …"""
        return await self._ask(_doors.notify(message, fields))

    @overload
    async def publish(self, events: Mapping[str, Any]) -> Published: ...
    @overload
    async def publish(self, events: Sequence[Mapping[str, Any]]) -> list[Published]: ...
    async def publish(self, events: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> Any:
        """Publishes an event, or up to 1,000, all or none. Then they are committed."""
        return await self._ask(_doors.publish(events))

    async def events(
        self, *, since: str | None = None, limit: int | None = None, client_id: str | None = None, **filters: Any
    ) -> Page:
        """A part of the log: ``topics``, ``types``, ``names``, ``min_priority``, ``tags``."""
        return await self._ask(_doors.events(since, limit, client_id, filters))

    async def acknowledge(
        self, client_id: str, *, event_ids: Sequence[str] | None = None, cursor: str | None = None
    ) -> dict[str, Any]:
        """Acknowledges events, or everything up to a cursor, as a client."""
        return await self._ask(_doors.acknowledge(client_id, event_ids, cursor))

    async def tasks(
        self, *, topics: Sequence[str] = (), states: Sequence[str] = (), limit: int | None = None
    ) -> list[Task]:
        """The tasks, the most recently updated first."""
        return (await self._ask(_doors.tasks(topics, states, limit)))["tasks"]

    async def report(self, task_id: str, **fields: Any) -> Published:
        """Says how far a task is: ``task_name``, ``step``, ``total_steps``, ``progress``, ``message``, ``state`` …"""
        return await self._ask(_doors.report(task_id, fields))

    def task(self, name: str, *, total: int | None = None, task_id: str | None = None, **fields: Any) -> AsyncTask:
        """A task that is yours to report of: ``async with client.task("Import", total=n) as task``."""
        return AsyncTask(self.report, name, total, task_id, fields)

    def stream(
        self,
        *,
        last_event_id: str = "",
        silence_seconds: float = 45,
        on_status: Callable[[Status], object] | None = None,
        on_gap: Callable[[Status], object] | None = None,
        on_state: Callable[[State], object] | None = None,
        **options: Any,
    ) -> AsyncStream:
        """Receives events, from now on or from where the options say: see `StreamOptions`."""
        course = Course(callable(self._credential), last_event_id, on_status, on_gap, on_state)
        return AsyncStream(self._http, self._url, self._credential, StreamOptions(**options), course, silence_seconds)

    async def request(self, method: str, path: str, body: object = None) -> Any:
        """Any door of the server: the answer's JSON, None if it has none."""
        return await self._ask(_doors.Question(method, path, body))

    async def _ask(self, question: _doors.Question) -> Any:
        response = await self._send(question)
        if response.status_code == 401 and callable(self._credential):
            response = await self._send(question)  # what gives credentials may have a newer one
        if not response.is_success:
            raise refusal(response.status_code, response.headers, response.content)
        return response.json() if response.content else None

    async def _send(self, question: _doors.Question) -> httpx2.Response:
        headers = _doors.headers(await current_async(self._credential))
        try:
            return await self._http.request(question.method, self._url + question.path, headers=headers, json=question.body)
        except httpx2.HTTPError as error:
            raise unreachable(error) from error


class AsyncStream:
    """`Stream`, to be iterated with ``async for``. Cancelling what iterates ends it."""

    def __init__(
        self,
        http: httpx2.AsyncClient,
        url: str,
        credential: AsyncCredential | None,
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

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        return await anext(self._events)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Ends it. Where another coroutine waits for an event, cancel that one."""
        await self._events.aclose()

    async def _run(self) -> AsyncGenerator[Event, None]:
        try:
            while True:
                error: NotificationError | None = None
                try:
                    async for event in self._connection():
                        yield event
                except NotificationError as refused:
                    error = refused
                await asyncio.sleep(self._course.wait_after(error))
        finally:
            self._course.state = "closed"

    async def _connection(self) -> AsyncGenerator[Event, None]:
        headers = self._course.headers(await current_async(self._credential))
        is_open = False
        try:
            async with self._http.stream("GET", self._url, headers=headers, timeout=self._timeout) as response:
                if not response.is_success:
                    raise refusal(response.status_code, response.headers, await response.aread())
                self._course.opened(response.headers.get("content-type", ""))
                is_open = True
                async for chunk in response.aiter_raw():
                    for event in self._course.events(chunk):
                        yield event
                    if self._course.wants_renewal:
                        return
        except httpx2.HTTPError as error:
            # A connection that was open and broke is no refusal.
            if not is_open:
                raise unreachable(error) from error
