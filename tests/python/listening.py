"""The documented client (listener.py, to the letter), listening in a thread of its own."""

import concurrent.futures
import contextlib
import io
import pathlib
import queue
import types

DOCUMENTED_ORIGIN = "http://127.0.0.1:8005"
SOURCE = pathlib.Path(__file__).with_name("listener.py")
ARRIVAL_SECONDS = 30


class Listening:
    """What the client was handed, event by event, and what it printed for each."""

    def __init__(self, origin):
        self._handled = queue.SimpleQueue()
        listener = _load(origin)
        listener.handle_notification = self._recorded(listener.handle_notification)
        executor = concurrent.futures.ThreadPoolExecutor(max_workers=1)
        self._ended = executor.submit(listener.listen_to_notifications)
        executor.shutdown(wait=False)

    def next(self):
        """The next event and the text printed for it."""
        return self._handled.get(timeout=ARRIVAL_SECONDS)

    def wait_end(self):
        """Returns once the server has ended the stream; raises what the client raised."""
        self._ended.result(timeout=ARRIVAL_SECONDS)

    def _recorded(self, handle):
        def handle_and_record(event):
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                handle(event)
            self._handled.put((event, printed.getvalue()))

        return handle_and_record


def _load(origin):
    listener = types.ModuleType("listener")
    source = SOURCE.read_text().replace(DOCUMENTED_ORIGIN, origin)
    exec(compile(source, SOURCE, "exec"), vars(listener))
    return listener
