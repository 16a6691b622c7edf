"""What the server tells about itself: counters for Prometheus, and one line of JSON a request."""

import json
import logging
import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

LOG = logging.getLogger("masklet.serve")
SECONDS = (0.005, 0.02, 0.05, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 15, 60)


class Telemetry:
    """The figures of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "masklet_requests", "Requests answered", ["route", "method", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "masklet_request_seconds", "Time to the first byte", ["route"], buckets=SECONDS, registry=self.registry
        )
        self.waiting = Gauge("masklet_model_waiting", "Computations that wait for the model", registry=self.registry)
        self.sessions = Gauge("masklet_sessions", "Sessions in memory", registry=self.registry)
        self.session_bytes = Gauge("masklet_session_bytes", "Bytes that sessions hold", registry=self.registry)

    def answered(self, *, route: str, method: str, status: int, seconds: float | int, request_id: str) -> None:
        """Counts a request and writes its line."""
        self.requests.labels(route, method, str(status)).inc()
        self.seconds.labels(route).observe(seconds)
        row = {"at": round(time.time(), 3), "id": request_id, "method": method, "route": route}
        LOG.info(json.dumps(row | {"status": status, "ms": round(1000 * seconds, 1)}))

    def text(self) -> bytes:
        """All figures in Prometheus' text form."""
        return generate_latest(self.registry)
