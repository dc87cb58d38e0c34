"""A receiver of CloudEvents on a thread of its own, for heads-end in other processes: it can be away, and refuse an event."""

from __future__ import annotations

import json
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Receiver:
    """Keeps its port for as long as it lives: who is away answers, too, but takes nothing. Counts what it took, by id."""

    def __init__(self) -> None:
        self.here = True
        self.picky = True
        self.poison = ""
        """the event that is refused while the receiver is picky: the first one it is brought"""
        self._taken: Counter[str] = Counter()
        self._lock = threading.Lock()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_OPTIONS(self) -> None:
                self._say(200 if receiver.here else 503)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                self._say(receiver.answer(json.loads(body)))

            def _say(self, status: int) -> None:
                self.send_response(status)
                self.send_header("WebHook-Allowed-Origin", "*")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/hook"

    @property
    def taken(self) -> Counter[str]:
        """How often each event was taken."""
        with self._lock:
            return Counter(self._taken)

    def answer(self, events: list[dict[str, Any]]) -> int:
        """The status with which a batch is answered."""
        with self._lock:
            if not self.here:
                return 503
            self.poison = self.poison or events[0]["id"]
            if self.picky and any(event["id"] == self.poison for event in events):
                return 400
            self._taken.update(event["id"] for event in events)
            return 204

    def end(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
