"""Tool calls out of whatever form a model gave them."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from masklet.llm.messages import ToolCall
from masklet.llm.tolerant import values_in

NAMES = ("tool", "name", "function", "action", "tool_name")
ARGUMENTS = ("arguments", "parameters", "args", "input", "action_input")
MOST_CALLS = 8


def calls_in(text: str, known: frozenset[str]) -> tuple[tuple[ToolCall, ...], str]:
    """The calls that a reply holds, and what to tell the model where there are none."""
    values = values_in(text)
    calls = [call for value in values for call in _calls(value, known)][:MOST_CALLS]
    if calls:
        return tuple(calls), ""
    if values:
        return (), f"the JSON of the reply names no tool; give the name of one of {', '.join(sorted(known))}"
    return (), 'the reply holds no tool call; answer with JSON such as {"tool": "segment", "arguments": {...}}'


def _calls(value: Any, known: frozenset[str]) -> Iterator[ToolCall]:
    if isinstance(value, list):
        for each in value[:MOST_CALLS]:
            yield from _calls(each, known)
        return
    if not isinstance(value, Mapping):
        return
    if isinstance(value.get("calls"), list):
        yield from _calls(value["calls"], known)
        return
    for key in ("call", "function"):  # our schema's form, and that of OpenAI's own tool calls
        if isinstance(value.get(key), Mapping):
            yield from _calls(value[key], known)
            return
    name = next((value[key] for key in NAMES if isinstance(value.get(key), str)), None)
    if name is None:  # {"segment": {...}}
        keys = [key for key in value if key in known and isinstance(value[key], Mapping)]
        yield from (ToolCall(name=key, arguments=value[key]) for key in keys)
        return
    yield ToolCall(name=name, arguments=_arguments(value))


def _arguments(value: Mapping[str, Any]) -> Mapping[str, Any]:
    for key in ARGUMENTS:
        given = value.get(key)
        if isinstance(given, str):  # JSON inside a string
            given = next((each for each in values_in(given) if isinstance(each, dict)), None)
        if isinstance(given, Mapping):
            return given
    return {key: each for key, each in value.items() if key not in (*NAMES, *ARGUMENTS, "thought", "reason")}


def as_text(call: ToolCall) -> str:
    """A call as the text transport writes it."""
    return json.dumps({"tool": call.name, "arguments": dict(call.arguments)}, ensure_ascii=False)
