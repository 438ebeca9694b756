"""The official MCP client of Python, and FastMCP's, against the real server."""

import asyncio
import logging
import unittest

import fastmcp
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from cutter import Cutter
from server import BINARY, NotificationServer

DEADLINE_SECONDS = 30
WATCHED = {"task_name": "Watched", "duration_seconds": 1, "step_count": 4}

# Changes whenever something is published without a topic.
TOPIC = "notification://topics/default"

# What each tool does something with, in this order.
CALLS = [
    ("send_notification", {"message": "from a tool"}),
    ("publish_event", {"name": "tool.tried", "event_id": "tried", "require_ack": True}),
    ("get_recent_events", {"topic": "**", "limit": 5}),
    ("acknowledge", {"client_id": "tester", "event_ids": ["tried"]}),
    ("get_receipts", {"event_id": "tried"}),
    ("explain_delivery", {"event_id": "tried"}),
    ("report_progress", {"task_id": "job", "task_name": "Job", "progress": 10}),
    ("get_task", {"task_id": "job"}),
    ("list_tasks", {}),
    ("connection_status", {}),
]


class McpClientsTest(unittest.IsolatedAsyncioTestCase):
    def setUp(self):
        # unittest has asyncio say which steps took long.
        logging.getLogger("asyncio").setLevel(logging.ERROR)
        self.server = NotificationServer()
        self.addCleanup(self.server.remove)
        self.server.wait_ready()
        self.url = f"{self.server.origin}/mcp"
        self.heard = []

    async def hear(self, params):
        self.heard.append(params)

    async def wait_for(self, message):
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not any(said.data.get("message") == message for said in self.heard):
                await asyncio.sleep(0.02)

    async def use_tools(self, client):
        names = {tool.name for tool in (await client.list_tools()).tools}
        self.assertEqual(names, {name for name, _ in CALLS} | {"simulate_progress"})
        for name, arguments in CALLS:
            called = await client.call_tool(name, arguments)
            self.assertFalse(called.is_error, called)
            self.assertTrue(called.structured_content)
        wrong = await client.call_tool("send_notification", {"massage": "m"})
        self.assertTrue(wrong.is_error)
        self.assertIn("massage", wrong.content[0].text)

        steps = []

        async def progress(done, total, message):
            steps.append((done, total))

        result = await client.call_tool("simulate_progress", WATCHED, progress_callback=progress)
        self.assertEqual(result.structured_content["status"], "completed")
        self.assertEqual(len(steps), 4)
        self.assertEqual(steps, sorted(steps))

    async def read_content(self, client):
        uris = {str(resource.uri) for resource in (await client.list_resources()).resources}
        self.assertIn(TOPIC, uris)
        read = await client.read_resource(TOPIC)
        self.assertIn("from a tool", read.contents[0].text)
        for prompt in (await client.list_prompts()).prompts:
            asked = await client.get_prompt(prompt.name, {"topic": "default"})
            self.assertIn("from a tool", asked.messages[0].content.text)

    async def test_the_newest_revision_is_spoken_first(self):
        async with Client(self.url) as client:
            self.assertEqual(str(client.protocol_version), "2026-07-28")
            await self.use_tools(client)
            await self.read_content(client)

    async def test_what_changes_is_heard_and_listened_to_again(self):
        async with Client(self.url) as client:
            for message in ("first", "second"):
                async with client.listen(resource_subscriptions=[TOPIC]) as changes:
                    self.server.publish(message)
                    async with asyncio.timeout(DEADLINE_SECONDS):
                        change = await anext(aiter(changes))
                    self.assertEqual(str(change.uri), TOPIC)

    async def test_a_session_hears_what_is_published(self):
        updated = []

        async def message(said):
            if getattr(said, "method", None) == "notifications/resources/updated":
                updated.append(str(said.params.uri))

        client = Client(
            self.url, mode="legacy", logging_callback=self.hear, message_handler=message
        )
        async with client:
            self.assertEqual(str(client.protocol_version), "2025-11-25")
            await self.use_tools(client)
            await self.read_content(client)
            await client.subscribe_resource(TOPIC)
            self.server.publish("to everybody")
            await self.wait_for("to everybody")
            await self.wait_for("from a tool")
            async with asyncio.timeout(DEADLINE_SECONDS):
                while TOPIC not in updated:
                    await asyncio.sleep(0.02)

    async def test_a_session_comes_back_and_misses_and_repeats_nothing(self):
        async with Cutter(self.server.origin) as cutter:
            client = Client(f"{cutter.origin}/mcp", mode="legacy", logging_callback=self.hear)
            async with client:
                for number in range(8):
                    if number == 3:  # once, as this client gives up at the second broken stream
                        cutter.cut()
                    self.server.publish(f"m{number}")
                    await asyncio.sleep(0.02)
                await self.wait_for("m7")
                self.assertEqual(
                    [said.data["message"] for said in self.heard], [f"m{n}" for n in range(8)]
                )

    async def test_a_process_is_started_that_speaks_both(self):
        bridge = StdioServerParameters(command=BINARY, args=["stdio", "--url", self.url])
        async with Client(stdio_client(bridge)) as client:
            self.assertEqual(str(client.protocol_version), "2026-07-28")
            await self.use_tools(client)
        async with Client(stdio_client(bridge), mode="legacy", logging_callback=self.hear) as client:
            self.assertEqual(str(client.protocol_version), "2025-11-25")
            await self.use_tools(client)
            self.server.publish("to everybody")
            await self.wait_for("to everybody")

    async def test_a_process_is_started_that_is_the_server(self):
        own = StdioServerParameters(command=BINARY, args=["stdio", "--data-dir", ":memory:"])
        async with Client(stdio_client(own), mode="legacy", logging_callback=self.hear) as client:
            await self.use_tools(client)
            await self.wait_for("from a tool")

    async def test_fastmcp_calls_and_hears(self):
        for mode in ("auto", "legacy"):
            updated, steps = [], []

            async def message(said):
                if getattr(said, "method", None) == "notifications/resources/updated":
                    updated.append(str(said.params.uri))

            async def progress(done, total, message):
                steps.append((done, total))

            client = fastmcp.Client(
                self.url,
                mode=mode,
                log_handler=self.hear,
                message_handler=message,
                progress_handler=progress,
            )
            self.heard.clear()
            async with client:
                names = {tool.name for tool in await client.list_tools()}
                self.assertEqual(names, {name for name, _ in CALLS} | {"simulate_progress"})
                for name, arguments in CALLS:
                    # An event id can be used once.
                    arguments = {
                        key: f"{value}-{mode}" if key == "event_id" else value
                        for key, value in arguments.items()
                    }
                    if name == "acknowledge":
                        arguments["event_ids"] = [f"tried-{mode}"]
                    called = await client.call_tool(name, arguments)
                    self.assertTrue(called.structured_content)
                watched = await client.call_tool("simulate_progress", WATCHED)
                self.assertEqual(watched.structured_content["status"], "completed")
                self.assertEqual(len(steps), 4)
                self.assertEqual(steps, sorted(steps))
                with self.assertRaises(fastmcp.exceptions.ToolError):
                    await client.call_tool("send_notification", {})
                self.assertIn(TOPIC, {str(one.uri) for one in await client.list_resources()})
                read = await client.read_resource(TOPIC)
                self.assertIn("from a tool", read[0].text)
                if mode == "legacy":  # where it listens without being asked to
                    await client.session.subscribe_resource(TOPIC)
                    self.server.publish("to everybody")
                    await self.wait_for("to everybody")
                    async with asyncio.timeout(DEADLINE_SECONDS):
                        while TOPIC not in updated:
                            await asyncio.sleep(0.02)


if __name__ == "__main__":
    unittest.main()
