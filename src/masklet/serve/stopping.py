"""The web server that runs the application: it ends soon after it is asked to, whatever is under way."""

import socket
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI

STOP_SECONDS = 5  # for answers that are being sent; Docker kills after ten


def config_of(app: FastAPI) -> uvicorn.Config:
    """How the application is served."""
    return uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=STOP_SECONDS,
        timeout_keep_alive=20,
        limit_concurrency=1000,
        h11_max_incomplete_event_size=2**16,
    )


class StoppableServer(uvicorn.Server):
    """Calls `stop` before it waits for open connections: a stream of frames would go on as long as its job does."""

    def __init__(self, config: uvicorn.Config, stop: Callable[[], None]) -> None:
        super().__init__(config)
        self._stop = stop

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Ends answers, then the application, which saves its sessions."""
        self._stop()
        for connection in list(self.server_state.connections):
            cycle, transport = getattr(connection, "cycle", None), getattr(connection, "transport", None)
            if transport and cycle and cycle.more_body:  # somebody still sends: it would not be looked at any more
                transport.close()
        await super().shutdown(sockets)
