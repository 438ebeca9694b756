"""What the document cannot say: formats of our own, lines of JSON, and rules between fields."""

import datetime
import json
import os

import schemathesis
from hypothesis import strategies as st

NAME = r"[A-Za-z0-9._:~-]{0,11}[A-Za-z0-9_:~-]"
LINES = "application/x-ndjson"
FILTER = {"topic", "type", "name", "min_priority", "tag", "client_id"}
GRANTS = {"admin", "acknowledge", "webhooks", "connections:read"}

schemathesis.openapi.format(
    "cursor",
    st.just(os.environ["CURSOR"])
    | st.from_regex(r"[0-9abcdefghjkmnpqrstvwxyz]{8}-(0|[1-9][0-9]{0,17})", fullmatch=True),
)
schemathesis.openapi.format(
    "audience",
    st.from_regex(rf"clients={NAME}(, {NAME})?(; groups={NAME})?", fullmatch=True),
)
schemathesis.openapi.format(
    "tags",
    st.from_regex(rf"{NAME}(, ?{NAME}){{0,3}}", fullmatch=True),
)
# Where nobody listens.
schemathesis.openapi.format("uri", st.just("http://127.0.0.1:9/"))


@schemathesis.serializer(LINES)
def write_lines(context, value):
    if isinstance(value, bytes):
        return value
    lines = value if isinstance(value, list) else [value]
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


@schemathesis.deserializer(LINES)
def read_lines(context, response):
    return [json.loads(line) for line in response.content.splitlines()]


@schemathesis.hook
def filter_case(context, case):
    return (
        "x-schemathesis-unknown-property" not in (case.headers or {})  # HTTP allows any header
        and not (case.media_type == LINES and is_negative(case))  # each line is refused on its own
        and not (case.method == "DELETE" and "alice" in (case.path_parameters or {}).values())
        and is_consistent_query(case.query or {})
        and (case.path != "/v1/keys" or is_consistent_key(case.body))
        and all(map(is_consistent_event, case.body if isinstance(case.body, list) else [case.body]))
        and (case.path != "/v1/tasks/{task_id}" or has_name(case))
        and is_consistent_declaration(case.body)
        and (not case.path.startswith("/v1/webhooks") or is_consistent_webhook(case))
    )


def is_negative(case):
    return case.meta is not None and case.meta.generation.mode.is_negative


def is_consistent_query(query):
    begins = "since" in query or "last_event_id" in query
    return not (
        "since" in query and "last_event_id" in query
        or query.get("snapshot") in (True, "true") and begins
        or query.get("durable") in (True, "true") and "client_id" not in query
        or "ack" in query and query.get("durable") not in (True, "true")
        or "ticket" in query and not FILTER.isdisjoint(query)
    )


def is_consistent_key(key):
    if not isinstance(key, dict) or not isinstance(key.get("allow"), list):
        return True
    return all(grant in GRANTS for grant in key["allow"] if isinstance(grant, str))


def has_name(case):
    return case.method != "PUT" or not isinstance(case.body, dict) or "task_name" in case.body


def is_consistent_declaration(body):
    # What a JSON Schema is, is not for this document to say.
    return not (isinstance(body, dict) and isinstance(body.get("payload_schema"), dict) and body["payload_schema"])


def is_consistent_webhook(case):
    # The one that is known stays; which event types there are is not for the document to say.
    body = case.body if isinstance(case.body, dict) else {}
    is_known = (case.path_parameters or {}).get("webhook_id") == os.environ["WEBHOOK"]
    return not (
        case.method == "DELETE" and is_known or "event_type" in body or "arguments" in body
    )


def is_consistent_event(event):
    if not isinstance(event, dict):
        return True
    step, total = event.get("step"), event.get("total_steps")
    if isinstance(step, int | float) and isinstance(total, int | float) and step > total:
        return False
    return not is_past(event.get("expires_at"))


def is_past(time):
    try:
        return datetime.datetime.fromisoformat(time) < datetime.datetime.now(datetime.UTC)
    except (TypeError, ValueError):
        return False
