"""Three ways to have a model call tools: JSON under a schema, a server's own tool calls, and plain text.

Small models keep to a schema best, and tool parsers of servers are where most faults live, so that is their order.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from masklet.llm.calls import as_text, calls_in
from masklet.llm.messages import Message, Picture, Reply, ToolCall, ToolDescription, Usage
from masklet.llm.server import ChatServer, ServerProblem

Way = Literal["json", "tools", "text"]
WAYS: tuple[Way, ...] = ("json", "tools", "text")
MOST_TOKENS = 1024
HURRY = "The reply was cut off. Answer now, with the tool call alone."


@runtime_checkable
class LanguageModel(Protocol):
    """Whoever answers messages with tool calls."""

    def reply(self, messages: Sequence[Message], tools: Sequence[ToolDescription]) -> Reply:
        """What it says. Raises: ServerProblem when it cannot be asked."""
        ...


@dataclass(frozen=True, kw_only=True)
class ServedModel:
    """A model behind a server, spoken to in one of three ways."""

    server: ChatServer
    way: Way = "json"
    temperature: float = 0.0
    max_tokens: int = MOST_TOKENS

    def reply(self, messages: Sequence[Message], tools: Sequence[ToolDescription]) -> Reply:
        """What it says; a reply that was cut off is asked for once more, with twice the room."""
        first = self._once(messages, tools, self.max_tokens)
        known = {tool.name for tool in tools}
        if not first.is_cut or (first.calls and all(call.name in known for call in first.calls)):
            return first
        again = self._once([*messages, Message(role="user", parts=(HURRY,))], tools, 2 * self.max_tokens)
        return Reply(
            text=again.text,
            calls=again.calls,
            problem=again.problem,
            is_cut=again.is_cut,
            usage=first.usage + again.usage,
        )

    def _once(self, messages: Sequence[Message], tools: Sequence[ToolDescription], room: int) -> Reply:
        request = {
            "messages": [each for message in messages for each in written(message, self.way)],
            "temperature": self.temperature,
            "max_tokens": room,
            **offer(tools, self.way),
        }
        return read_reply(self.server.complete(request), tools)


def offer(tools: Sequence[ToolDescription], way: Way) -> dict[str, Any]:
    """The part of a request that tells of tools. The text way tells of them in words (`described`)."""
    if way == "json":
        schema = {"name": "call", "strict": True, "schema": call_schema(tools)}
        return {"response_format": {"type": "json_schema", "json_schema": schema}}
    if way == "tools":
        listed = [
            {"type": "function", "function": {"name": t.name, "description": t.description, "parameters": t.parameters}}
            for t in tools
        ]
        return {"tools": listed, "tool_choice": "required"}
    return {}


def call_schema(tools: Sequence[ToolDescription]) -> dict[str, Any]:
    """A JSON schema of one call of any of the tools, in the subset that all servers take."""
    kinds = [_one_call(tool) for tool in tools]
    call = kinds[0] if len(kinds) == 1 else {"anyOf": kinds}
    properties = {"thought": {"type": "string"}, "call": call}
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _one_call(tool: ToolDescription) -> dict[str, Any]:
    properties = {"tool": {"type": "string", "enum": [tool.name]}, "arguments": dict(tool.parameters)}
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def described(tools: Sequence[ToolDescription]) -> str:
    """The tools in words, for models that are told of them no other way."""
    lines = [f"- {tool.name}: {tool.description} arguments: {json.dumps(tool.parameters)}" for tool in tools]
    return "Tools:\n" + "\n".join(lines)


def written(message: Message, way: Way) -> list[dict[str, Any]]:
    """A turn as servers want it. Images go into user turns only, as most servers refuse them elsewhere."""
    if message.role == "assistant":
        return [_assistant(message, way)]
    if message.role != "tool":
        return [{"role": message.role, "content": _content(message.parts)}]
    words = "\n".join(part for part in message.parts if isinstance(part, str))
    pictures = [part for part in message.parts if isinstance(part, Picture)]
    if way != "tools":
        return [{"role": "user", "content": _content((f"Result of {message.name}: {words}", *pictures))}]
    turns: list[dict[str, Any]] = [{"role": "tool", "tool_call_id": message.call_id, "content": words}]
    if pictures:
        turns.append({"role": "user", "content": _content((f"Shown by {message.name}:", *pictures))})
    return turns


def _assistant(message: Message, way: Way) -> dict[str, Any]:
    words = "\n".join(part for part in message.parts if isinstance(part, str))
    if way != "tools" or not message.calls:
        return {"role": "assistant", "content": "\n".join([words, *map(as_text, message.calls)]).strip()}
    calls = [
        {"id": c.id, "type": "function", "function": {"name": c.name, "arguments": json.dumps(dict(c.arguments))}}
        for c in message.calls
    ]
    return {"role": "assistant", "content": words or None, "tool_calls": calls}


def _content(parts: Sequence[str | Picture]) -> str | list[dict[str, Any]]:
    if all(isinstance(part, str) for part in parts):
        return "\n".join(part for part in parts if isinstance(part, str))
    content: list[dict[str, Any]] = []
    for part in parts:
        if isinstance(part, Picture):
            url = f"data:{part.media_type};base64,{base64.b64encode(part.data).decode()}"
            content.append({"type": "image_url", "image_url": {"url": url}})
        else:
            content.append({"type": "text", "text": part})
    return content


def read_reply(document: Mapping[str, Any], tools: Sequence[ToolDescription]) -> Reply:
    """A server's answer as a reply: its own tool calls where it made any, else those in its text.

    Raises: ServerProblem when it holds neither.
    """
    choice = document["choices"][0]
    message, finish = choice["message"], choice.get("finish_reason")
    text = message.get("content")
    text = text if isinstance(text, str) else ""
    known = frozenset(tool.name for tool in tools)
    native = message.get("tool_calls")
    calls = _native(native) if isinstance(native, list) else ()
    problem = ""
    if not calls:
        calls, problem = calls_in(text, known)
    if not calls and not text and not native:
        raise ServerProblem("the model said nothing", 422)
    numbered = tuple(
        ToolCall(name=call.name, arguments=call.arguments, id=call.id or f"call_{place}")
        for place, call in enumerate(calls)
    )
    usage = document.get("usage")
    return Reply(text=text, calls=numbered, problem=problem, is_cut=finish == "length", usage=usage_of(usage))


def _native(listed: list[Any]) -> tuple[ToolCall, ...]:
    calls: list[ToolCall] = []
    for each in listed:
        function = each.get("function") if isinstance(each, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            continue
        found, _ = calls_in(
            json.dumps({"name": function["name"], "arguments": function.get("arguments", {})}), frozenset()
        )
        calls += [ToolCall(name=call.name, arguments=call.arguments, id=str(each.get("id") or "")) for call in found]
    return tuple(calls)


def usage_of(usage: Any) -> Usage:
    """What a server says that a request took; 0 of what it does not say."""
    given = usage if isinstance(usage, dict) else {}
    counts = {key: given.get(key) for key in ("prompt_tokens", "completion_tokens")}
    return Usage(requests=1, **{key: value if isinstance(value, int) else 0 for key, value in counts.items()})
