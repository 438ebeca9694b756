"""The official MCP client of Python, and FastMCP's, against the real server."""

import asyncio
import logging
import unittest

import fastmcp
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from server import BINARY, NotificationServer

DEADLINE_SECONDS = 30
WATCHED = {"task_name": "Watched", "duration_seconds": 1, "step_count": 4}


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
        self.assertLessEqual({"simulate_progress", "send_notification", "connection_status"}, names)
        sent = await client.call_tool("send_notification", {"message": "from a tool"})
        self.assertFalse(sent.is_error)
        self.assertIn("notification_id", sent.structured_content)
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

    async def test_the_newest_revision_is_spoken_first(self):
        async with Client(self.url) as client:
            self.assertEqual(str(client.protocol_version), "2026-07-28")
            await self.use_tools(client)

    async def test_a_session_hears_what_is_published(self):
        async with Client(self.url, mode="legacy", logging_callback=self.hear) as client:
            self.assertEqual(str(client.protocol_version), "2025-11-25")
            await self.use_tools(client)
            self.server.publish("to everybody")
            await self.wait_for("to everybody")
            await self.wait_for("from a tool")

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

    async def test_fastmcp_lists_and_calls(self):
        async with fastmcp.Client(self.url) as client:
            names = {tool.name for tool in await client.list_tools()}
            self.assertIn("send_notification", names)
            sent = await client.call_tool("send_notification", {"message": "from fastmcp"})
            self.assertIn("notification_id", sent.structured_content)
            with self.assertRaises(fastmcp.exceptions.ToolError):
                await client.call_tool("send_notification", {})


if __name__ == "__main__":
    unittest.main()
