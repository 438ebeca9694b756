#!/usr/bin/env python3
"""Builds the documentation as a book, into target/book.

The pages are those of the repository. The reference is written from the server itself,
which has to be built: routes and shapes from /openapi.json, commands from their --help,
settings from `config`, metrics from /metrics. A link that leads nowhere is an error.
"""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
BOOK = ROOT / "target/book"
SOURCE = BOOK / "src"
BINARY = os.environ.get("SERVER_BINARY", str(ROOT / "target/debug/notification-server"))
MDBOOK = os.environ.get("MDBOOK", str(ROOT / "target/tools/bin/mdbook"))
REPOSITORY = "https://github.com/notification-server/notification-server/blob/main/"
LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)(#[^)\s]*)?\)")


def main():
    shutil.rmtree(BOOK, ignore_errors=True)
    SOURCE.mkdir(parents=True)
    shutil.copy(ROOT / "docs/book/book.toml", BOOK)
    shutil.copy(ROOT / "docs/book/SUMMARY.md", SOURCE)
    pages = re.findall(r"\]\(([^)]+\.md)\)", (SOURCE / "SUMMARY.md").read_text())
    write_reference()
    for page in pages:
        if not page.startswith("reference/"):
            copy(page, pages)
    for directory in ("docs/screenshots", "docs/performance"):
        shutil.copytree(ROOT / directory, SOURCE / directory)
    check(pages)
    subprocess.run([MDBOOK, "build", str(BOOK), "--dest-dir", str(BOOK / "html")], check=True)
    print(f"The book is in {BOOK / 'html'}")


def copy(page, pages):
    """Copies a page. What it links to beside the book is in the repository."""

    def link(match):
        target, anchor = match[1], match[2] or ""
        path = os.path.normpath(os.path.join(os.path.dirname(page), target))
        is_here = path in pages or path.startswith(("docs/screenshots/", "docs/performance/"))
        if not (ROOT / path).exists():
            sys.exit(f"{page}: nothing is at {target}")
        return match[0] if is_here else f"]({REPOSITORY}{path}{anchor})"

    text = LINK.sub(link, (ROOT / page).read_text())
    (SOURCE / page).parent.mkdir(parents=True, exist_ok=True)
    (SOURCE / page).write_text(text)


def check(pages):
    """Every anchor that is linked to is a heading, or was put there."""
    anchors = {page: anchors_of((SOURCE / page).read_text()) for page in pages}
    wrong = []
    for page in pages:
        text = re.sub(r"```.*?```", "", (SOURCE / page).read_text(), flags=re.DOTALL)
        for target, anchor in re.findall(r"\]\((?!https?:|mailto:)([^)#\s]*)#([^)\s]+)\)", text):
            path = os.path.normpath(os.path.join(os.path.dirname(page), target)) if target else page
            if path in anchors and anchor not in anchors[path]:
                wrong.append(f"{page}: {path} has no #{anchor}")
    if wrong:
        sys.exit("\n".join(wrong))


def anchors_of(text):
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    found = set(re.findall(r'<a id="([^"]+)"', text))
    for heading in re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
        found.add("".join("-" if c == " " else c for c in plain if c.isalnum() or c in " -_"))
    return found


def write_reference():
    reference = SOURCE / "reference"
    reference.mkdir()
    config = run("config")
    (reference / "settings.md").write_text(
        "# Every setting\n\nWith its default, as `notification-server config` prints it. "
        "[How settings are given](../docs/operations.md#settings).\n\n"
        f"```toml\n{config.rstrip()}\n```\n"
    )
    (reference / "commands.md").write_text(commands())
    with tempfile.TemporaryDirectory() as directory:
        server = subprocess.Popen(
            [BINARY, "--bind", "127.0.0.1:0", "--data-dir", directory], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        try:
            url = next(match[0] for line in server.stdout if (match := re.search(r"http://127\.0\.0\.1:\d+", line)))
            get = lambda path: urllib.request.urlopen(url + path, timeout=30).read().decode()
            described = json.loads(get("/openapi.json"))
            (reference / "routes.md").write_text(routes(described))
            (reference / "shapes.md").write_text(shapes(described))
            (reference / "metrics.md").write_text(metrics(get("/metrics")))
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(30)


def run(*arguments):
    environment = {**os.environ, "COLUMNS": "100"}
    return subprocess.run([BINARY, *arguments], check=True, capture_output=True, text=True, env=environment).stdout


def commands():
    text = "# Every command\n\n[What they are for](../docs/command-line.md).\n"

    def add(path):
        nonlocal text
        said = run(*path, "--help")
        name = " ".join(["notification-server", *path])
        text += f"\n{'#' * min(len(path) + 2, 4)} {name}\n\n```text\n{said.rstrip()}\n```\n"
        listed = re.search(r"^Commands:\n((?:  .*\n)+)", said, flags=re.MULTILINE)
        for name in re.findall(r"^  (\S+)", listed[1] if listed else "", flags=re.MULTILINE):
            if name != "help":
                add([*path, name])

    add([])
    return text


def routes(described):
    text = "# Every route\n\nFrom the server's `/openapi.json`. [What they mean](../docs/http.md).\n"
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            if not isinstance(operation, dict) or "responses" not in operation:
                continue
            text += f"\n## {method.upper()} {path}\n\n{operation['summary']}. {operation.get('description', '')}\n"
            parameters = [resolve(described, it) for it in operation.get("parameters", [])]
            if parameters:
                text += "\n| parameter | in | is |\n|---|---|---|\n"
                for it in parameters:
                    text += f"| `{it['name']}` | {it['in']} | {shape(it.get('schema', {}))} |\n"
            body = resolve(described, operation.get("requestBody", {})).get("content", {})
            for kind, content in body.items():
                text += f"\nBody, `{kind}`: {shape(content.get('schema', {}))}\n"
            text += "\n| status | answer |\n|---|---|\n"
            for status, answer in sorted(operation["responses"].items()):
                answer = resolve(described, answer)
                contents = [shape(it.get("schema", {})) for it in answer.get("content", {}).values()]
                text += f"| {status} | {cell(answer.get('description', ''))}{': ' + ', '.join(contents) if contents else ''} |\n"
    return text


def shapes(described):
    text = "# Every shape\n\nJSON Schemas (2020-12), from the server's `/openapi.json`.\n"
    for name, schema in described["components"]["schemas"].items():
        text += f"\n## {name}\n\n```json\n{json.dumps(schema, indent=2, ensure_ascii=False)}\n```\n"
    return text


def resolve(described, it):
    while "$ref" in it:
        part = described
        for name in it["$ref"].removeprefix("#/").split("/"):
            part = part[name]
        it = part
    return it


def shape(schema):
    """A schema in a few words, with links to those that have a name."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        return f"[{name}](shapes.md#{name.lower()})"
    said = schema.get("description", "")
    if schema.get("type") == "array":
        return cell(f"{said} array of {shape(schema.get('items', {}))}".strip())
    for way in ("oneOf", "anyOf"):
        if way in schema:
            return cell(" or ".join(shape(it) for it in schema[way]))
    if schema.get("properties"):
        fields = ", ".join(f"`{name}`" for name in schema["properties"])
        return cell(f"{said} object: {fields}".strip())
    if "enum" in schema:
        return cell(f"{said} one of {', '.join(f'`{it}`' for it in schema['enum'])}".strip())
    kind = schema.get("type", "any")
    kind = " or ".join(kind) if isinstance(kind, list) else kind
    return cell(f"{said} ({kind})" if said else kind)


def cell(text):
    return text.replace("|", "\\|").replace("\n", " ")


def metrics(exposed):
    text = "# Every metric\n\nAs `/metrics` has them. [What to watch](../docs/operations.md#metrics).\n\n| metric | type | counts |\n|---|---|---|\n"
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", exposed, flags=re.MULTILINE))
    for name, help_text in re.findall(r"^# HELP (\S+) (.+)$", exposed, flags=re.MULTILINE):
        suffix = "_total" if kinds.get(name) == "counter" else ""
        text += f"| `{name}{suffix}` | {kinds.get(name, '')} | {cell(help_text.rstrip('.'))} |\n"
    return text


if __name__ == "__main__":
    main()
