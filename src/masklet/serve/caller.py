"""Whether somebody still waits for the answer to a request; what runs for it in another thread sees it as well."""

from contextvars import ContextVar


class Caller:
    """Who waits for an answer. One that has gone gets nothing computed."""

    def __init__(self) -> None:
        self.is_gone = False


# What is computed for nobody in particular, such as a job, is computed
CALLER: ContextVar[Caller] = ContextVar("caller", default=Caller())  # noqa: B039 - nobody sets the default one's flag
