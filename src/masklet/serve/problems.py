"""Errors with a status: what a client is told, in the one shape that every route answers with."""


class HttpProblem(Exception):
    """An error for the client: a status, one sentence, and seconds after which to try again where that helps."""

    def __init__(self, status: int, message: str, *, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.retry_after = status, message, retry_after

    @property
    def ends_request(self) -> bool:
        """Whether it holds for all that a request asks: the client has gone, or the server computes nothing now."""
        return self.status in (499, 503)


def stopping() -> HttpProblem:
    """What is not begun any more because the server ends."""
    return HttpProblem(503, "the server is being stopped: what it has acknowledged is kept", retry_after=10)


def given_up() -> HttpProblem:
    """What is not begun any more because its client has closed the connection; it is for logs and counters alone."""
    return HttpProblem(499, "the client has gone: nothing was computed")


def not_found(what: str) -> HttpProblem:
    """What is not there, or belongs to somebody else; the two are not told apart."""
    return HttpProblem(404, f"there is no {what} of that id: it was closed, or never opened here")
