"""Planners that need no language model: rules, by the query language, and a fixed list of calls."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from masklet.agent.rules import readings
from masklet.llm.messages import Message, Reply, ToolCall, ToolDescription
from masklet.query.text import to_text


@dataclass(frozen=True, kw_only=True)
class RulesPlanner:
    """One query in the exact form of the likeliest reading, then its answer: a default that works offline."""

    def reply(self, messages: Sequence[Message], tools: Sequence[ToolDescription]) -> Reply:  # noqa: ARG002 - a protocol's
        """The next call. A request beyond the query language is segmented word by word as it is."""
        results = [message for message in messages if message.role == "tool"]
        if not results:
            return _say(_first(_request(messages)))
        said = str(results[-1].parts[0])
        if said.startswith("not done"):
            answered = [message for message in results[:-1] if not str(message.parts[0]).startswith("not done")]
            if not answered or results[-1].name not in ("answer", "reply"):
                return _say(ToolCall(name="answer_none", arguments={"reason": "not_groundable"}))
            said = str(answered[-1].parts[0])
        ids = [key.strip() for key in said.split(".")[0].split(" (")[0].split(",")]
        if ids == ["nothing"]:
            return _say(ToolCall(name="answer_none", arguments={"reason": "absent"}))
        return _say(ToolCall(name="answer", arguments={"masks": ids, "confidence": 0.8}))


def _first(request: str) -> ToolCall:
    found = readings(request)
    if found:
        return ToolCall(name="query", arguments={"question": to_text(found[0])})
    words = [word for word in request.lower().replace(",", " ").split() if len(word) > 3]
    return ToolCall(name="segment", arguments={"phrases": [" ".join(words[:4]) or request[:40]]})


def _request(messages: Sequence[Message]) -> str:
    said = next(message for message in messages if message.role == "user")
    return next(part for part in said.parts if isinstance(part, str)).removeprefix("Request: ")


def _say(call: ToolCall) -> Reply:
    return Reply(calls=(ToolCall(name=call.name, arguments=call.arguments, id="call_0"),))


@dataclass(kw_only=True)
class ScriptedPlanner:
    """Gives replies in order; the last again and again."""

    replies: Sequence[Reply]
    heard: list[tuple[Message, ...]] = field(default_factory=list)
    tools: list[tuple[ToolDescription, ...]] = field(default_factory=list)

    def reply(self, messages: Sequence[Message], tools: Sequence[ToolDescription]) -> Reply:
        """The next of the list."""
        self.heard.append(tuple(messages))
        self.tools.append(tuple(tools))
        return self.replies[min(len(self.heard), len(self.replies)) - 1]
