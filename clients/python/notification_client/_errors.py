from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Literal, TypedDict

#: ``refused``: asking again will not help. ``unauthorized``: it is not known who asks;
#: another credential may help. ``unavailable``: later may help.
Kind = Literal["refused", "unauthorized", "unavailable"]


class FieldError(TypedDict):
    """A field or parameter that is wrong, and what it should be."""

    field: str
    expected: str


class NotificationError(Exception):
    """The server refused, or could not be reached."""

    def __init__(
        self,
        kind: Kind,
        status: int,
        detail: str,
        *,
        fields: list[FieldError] | None = None,
        limit: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(detail)
        self.kind: Kind = kind
        #: The HTTP status; 0 if there was no answer.
        self.status = status
        #: The server's sentence.
        self.detail = detail
        self.fields: list[FieldError] = fields or []
        #: The limit that was reached, as the server calls it.
        self.limit = limit
        #: Seconds, if the server said when to come back.
        self.retry_after = retry_after


def refusal(status: int, headers: Mapping[str, str], body: bytes) -> NotificationError:
    """What an answer that is no success says (RFC 9457)."""
    try:
        problem = json.loads(body)
    except ValueError:
        problem = None  # something between us and the server answered
    if not isinstance(problem, dict):
        problem = {}
    seconds = headers.get("retry-after", "")
    is_temporary = status in (408, 429) or status >= 500
    kind: Kind = "unauthorized" if status == 401 else "unavailable" if is_temporary else "refused"
    detail, limit, fields = problem.get("detail"), problem.get("limit"), problem.get("errors")
    return NotificationError(
        kind,
        status,
        detail if isinstance(detail, str) else f"the answer was {status}",
        fields=fields if isinstance(fields, list) else None,
        limit=limit if isinstance(limit, str) else None,
        retry_after=int(seconds) if seconds.isascii() and seconds.isdigit() and len(seconds) < 10 else None,
    )


def unreachable(error: Exception) -> NotificationError:
    """There was no answer."""
    return NotificationError("unavailable", 0, f"the server cannot be reached: {error or type(error).__name__}")
