"""A chat server on this machine that does what it is told, well or badly: for tests of whoever speaks to it."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, bytes]
Behaviour = Callable[[dict[str, Any]], Answer]


def said(message: dict[str, Any], finish: str = "stop") -> Answer:
    """A proper answer."""
    choice = {"message": {"role": "assistant", **message}, "finish_reason": finish}
    usage = {"prompt_tokens": 10, "completion_tokens": 2}
    return 200, json.dumps({"choices": [choice], "usage": usage}).encode()


def refused(status: int, words: str = "no") -> Answer:
    """An answer with a status of its own."""
    return status, json.dumps({"error": words}).encode()


@contextmanager
def chat_server(behaviour: Behaviour) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The address of a server that answers so, and the requests that it got."""
    requests: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            requests.append({**body, "authorization": self.headers.get("Authorization")})
            status, answer = behaviour(body)
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            if status in (301, 302):
                self.send_header("Location", "http://127.0.0.1:9/elsewhere")
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", requests
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
