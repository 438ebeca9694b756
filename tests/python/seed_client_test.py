"""The documented Python client against the real server."""

import unittest

from listening import Listening
from server import NotificationServer


class SeedClientTest(unittest.TestCase):
    def setUp(self):
        self.server = NotificationServer()
        self.addCleanup(self.server.remove)
        self.server.wait_ready()
        self.listening = Listening(self.server.origin)
        status, printed = self.listening.next()
        self.assertEqual(status["status"], "connected")
        self.assertEqual(printed, "")

    def test_prints_a_notification_published_over_http(self):
        published = self.server.publish("Backup done")

        event, printed = self.listening.next()
        self.assertEqual(event["notification_id"], published["event_id"])
        self.assertEqual(printed, "Notification: Backup done\n")

    def test_prints_a_notification_sent_with_the_tool(self):
        data = {"maintenance_window": "2024-01-15T02:00:00Z", "expected_duration": "30 minutes"}
        sent = self.server.call_tool(
            "send_notification",
            message="System maintenance will begin in 10 minutes",
            type="warning",
            data=data,
        )

        event, printed = self.listening.next()
        self.assertEqual(event["notification_id"], sent["notification_id"])
        self.assertEqual(event["data"], data)
        self.assertEqual(printed, "Notification: System maintenance will begin in 10 minutes\n")

    def test_prints_each_step_of_a_task(self):
        self.server.call_tool(
            "simulate_progress", task_name="File Processing", duration_seconds=1, step_count=4
        )

        self.assertEqual(
            [self.listening.next()[1] for _ in range(4)],
            [
                "Progress: 25.0% - Completed step 1 of 4\n",
                "Progress: 50.0% - Completed step 2 of 4\n",
                "Progress: 75.0% - Completed step 3 of 4\n",
                "Progress: 100.0% - Completed step 4 of 4\n",
            ],
        )

    def test_is_told_when_the_server_stops(self):
        self.server.stop()

        event, _ = self.listening.next()
        self.assertEqual((event["type"], event["status"]), ("status", "closing"))
        self.listening.wait_end()


if __name__ == "__main__":
    unittest.main()
