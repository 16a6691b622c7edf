"""Replies of language models read with tolerance: JSON in prose, in fences or tags, with slips, cut short.

Nothing here raises on what a model wrote. Work is bounded: what is beyond `MOST_CHARACTERS` is not read.
"""

import ast
import json
import re
import warnings
from collections.abc import Iterator
from typing import Any

MOST_CHARACTERS = 200_000
MOST_VALUES = 200  # JSON values tried in one reply
MOST_DEPTH = 40
_THINKING = re.compile(r"<think(?:ing)?>.*?</think(?:ing)?>", re.DOTALL | re.IGNORECASE)
_UNCLOSED = re.compile(r"<think(?:ing)?>.*\Z", re.DOTALL | re.IGNORECASE)
_TAGGED = re.compile(r"<(tool|tool_call|function_call)>(.*?)(?:</\1>|\Z)", re.DOTALL | re.IGNORECASE)
_FENCED = re.compile(r"```(?:json|python)?\s*(.*?)(?:```|\Z)", re.DOTALL | re.IGNORECASE)
_COMMENT = re.compile(r'("(?:\\.|[^"\\])*")|//[^\n]*|/\*.*?\*/', re.DOTALL)
_TRAILING = re.compile(r",(\s*[}\]])")
_QUOTES = str.maketrans({"\u201c": '"', "\u201d": '"', "\u2018": "'", "\u2019": "'", "\u2212": "-", "\u00a0": " "})
_CLOSERS = {"{": "}", "[": "]"}


def without_thinking(text: str) -> str:
    """The reply without what the model thought aloud, also when it never stopped thinking."""
    return _UNCLOSED.sub("", _THINKING.sub("", text[:MOST_CHARACTERS]))


def values_in(text: str) -> list[Any]:
    """Every JSON object or list of a reply, in order; those in tags alone where there are tags, else in fences."""
    said = without_thinking(text)
    return _values_of(said) or _values_of(said.translate(_QUOTES))


def _values_of(said: str) -> list[Any]:
    marked = [match[2] for match in _TAGGED.finditer(said)] or [match[1] for match in _FENCED.finditer(said)]
    for places in (marked, [said]):
        found = [value for place in places for value in _values(place)]
        if found:
            return found
    return []


def _values(text: str) -> Iterator[Any]:
    start, tried = 0, 0
    while tried < MOST_VALUES and (match := re.compile(r"[{\[]").search(text, start)):
        tried += 1
        end, piece = _balanced(text, match.start())
        value = _read(piece)
        if value is None:
            start = match.start() + 1
            continue
        start = end
        yield value


def _balanced(text: str, start: int) -> tuple[int, str]:
    """The first balanced value from `start`; where the text ends too early, it is closed after the last whole part."""
    closers: list[str] = []
    quote, escaped, whole = "", False, -1
    for place in range(start, len(text)):
        character = text[place]
        if escaped:
            escaped = False
        elif quote:
            escaped = character == "\\"
            quote = "" if character == quote else quote
        elif character == '"' or (character == "'" and text[place - 1] in "{[,: \n(\t"):
            quote = character
        elif character in _CLOSERS:
            closers.append(_CLOSERS[character])
            if len(closers) > MOST_DEPTH:
                break
        elif character in "}]":
            if not closers or character != closers.pop():
                break
            if not closers:
                return place + 1, text[start : place + 1]
            whole = place + 1
    if whole < 0:
        return len(text), text[start:] + quote + "".join(reversed(closers))
    return len(text), text[start:whole] + "".join(reversed(_open_closers(text[start:whole])))


def _open_closers(text: str) -> list[str]:
    closers, quote, escaped = list[str](), "", False
    for character in text:
        if escaped:
            escaped = False
        elif quote:
            escaped = character == "\\"
            quote = "" if character == quote else quote
        elif character == '"':
            quote = character
        elif character in _CLOSERS:
            closers.append(_CLOSERS[character])
        elif character in "}]" and closers:
            closers.pop()
    return closers


def _read(piece: str) -> Any:
    """A value from text that may be JSON with slips or a Python literal; None when it is neither."""
    for repaired in (piece, _repaired(piece)):
        try:
            value = json.loads(repaired, parse_constant=lambda _: None)
        except (ValueError, RecursionError):
            continue
        return value if isinstance(value, (dict, list)) else None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd escapes are the model's
            value = json.loads(json.dumps(ast.literal_eval(_repaired(piece))))  # no sets, no bytes
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return None
    return value if isinstance(value, (dict, list)) else None


def _repaired(piece: str) -> str:
    plain = piece.translate(_QUOTES)
    plain = _COMMENT.sub(lambda match: match[1] or "", plain)
    return _TRAILING.sub(r"\1", plain)
