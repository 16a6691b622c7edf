"""What is said to a language model and what it says back, apart from how a server wants it written."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, kw_only=True)
class Picture:
    """An image as the bytes of a PNG or JPEG file; `note` stands in its place once it is left out."""

    data: bytes
    media_type: str = "image/png"
    note: str = "an image shown earlier"


Part = str | Picture


@dataclass(frozen=True, kw_only=True)
class ToolCall:
    """A tool that the model wants to be run. `id` ties the result to it."""

    name: str
    arguments: Mapping[str, Any]
    id: str = ""


@dataclass(frozen=True, kw_only=True)
class Message:
    """One turn. `calls` are an assistant's; `call_id` and `name` are of the call that a tool's result answers."""

    role: Role
    parts: tuple[Part, ...]
    calls: tuple[ToolCall, ...] = ()
    call_id: str = ""
    name: str = ""

    @property
    def pictures(self) -> int:
        """How many images it shows."""
        return sum(isinstance(part, Picture) for part in self.parts)


@dataclass(frozen=True, kw_only=True)
class ToolDescription:
    """A tool as a model is told of it: `parameters` is a JSON schema of an object."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Tokens of one or several requests, and how many those were."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            requests=self.requests + other.requests,
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
        )


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What a model said. `problem` is a sentence for it when what it said could not be read as calls."""

    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    problem: str = ""
    is_cut: bool = False
    usage: Usage = field(default_factory=Usage)
