"""Replies as language models write them: what is meant is read, and nothing that they write is raised."""

import json
import random
import re

import pytest

from masklet.llm.calls import calls_in
from masklet.llm.tolerant import MOST_CHARACTERS, values_in

KNOWN = frozenset({"segment", "answer"})
WANTED = {"phrases": ["cup", "mug"]}
CURLED = re.sub(r'"([^"]*)"', "\u201c\\1\u201d", json.dumps({"tool": "segment", "arguments": WANTED}))


@pytest.mark.parametrize(
    "reply",
    [
        '{"tool": "segment", "arguments": {"phrases": ["cup", "mug"]}}',
        'I will look.\n```json\n{"name": "segment", "parameters": {"phrases": ["cup", "mug"]}}\n```\nDone.',
        '<think>maybe {"tool": "answer"}</think><tool>{"name":"segment","parameters":{"phrases":["cup","mug"]}}</tool>',
        "{'tool': 'segment', 'arguments': {'phrases': ['cup', 'mug'],}}",
        '{"tool": "segment", "arguments": {"phrases": ["cup", "mug"]',
        '{"function": {"name": "segment", "arguments": "{\\"phrases\\": [\\"cup\\", \\"mug\\"]}"}}',
        CURLED,
        '{"thought": "x", "call": 1} {"tool": "segment", "phrases": ["cup", "mug"], // two\n "thought": "y"}',
        '{"segment": {"phrases": ["cup", "mug"]}}',
        '[{"tool": "segment", "args": {"phrases": ["cup", "mug"]}}]',
    ],
)
def test_a_call_is_read_in_whatever_form_it_comes(reply: str) -> None:
    calls, problem = calls_in(reply, KNOWN)
    assert problem == ""
    assert [(call.name, dict(call.arguments)) for call in calls] == [("segment", WANTED)]


def test_a_call_under_a_schema_is_the_one_inside() -> None:
    reply = json.dumps({"thought": "t", "call": {"tool": "answer", "arguments": {"masks": ["A1"]}}})
    calls, _ = calls_in(reply, KNOWN)
    assert [(call.name, dict(call.arguments)) for call in calls] == [("answer", {"masks": ["A1"]})]


@pytest.mark.parametrize(
    "reply", ["", "nothing to see", "<tool></tool>", '{"a": 1}', "[[[[[", "<think>and so on", "{'tool': {'segment'}}"]
)
def test_what_holds_no_call_is_said_in_a_sentence(reply: str) -> None:
    calls, problem = calls_in(reply, KNOWN)
    assert calls == ()
    assert "tool" in problem


def test_ten_thousand_mutated_replies_give_calls_or_a_sentence() -> None:
    rng = random.Random(0)
    seeds = [
        '<think>hm</think><tool>{"name": "segment", "parameters": {"phrases": ["cup"]}}</tool>',
        '```json\n{"tool": "answer", "arguments": {"masks": ["A1", "B2"], "confidence": 0.8}}\n```',
        '[{"tool": "segment", "arguments": {"phrases": ["a", "b"]}}, {"tool": "answer", "arguments": {}}]',
    ]
    pieces = [
        "{",
        "}",
        "[",
        "]",
        '"',
        "'",
        "\\",
        ",",
        ":",
        "<tool>",
        "</tool>",
        "```",
        "\u201c",
        "NaN",
        "//",
        "<think>",
        "\x00",
        "1e999",
    ]
    read = 0
    for _ in range(10_000):
        text = rng.choice(seeds)
        for _ in range(rng.randint(1, 6)):
            place = rng.randrange(len(text) + 1)
            kind = rng.randrange(4)
            end = min(len(text), place + rng.randrange(12))
            text = (
                text[:place] + rng.choice(pieces) + text[place:]
                if kind == 0
                else text[:place] + text[end:]
                if kind == 1
                else text[:place]
                if kind == 2 and rng.random() < 0.3
                else text[:place] + text[place:end] * 2 + text[end:]
            )
        calls, problem = calls_in(text, KNOWN)
        assert bool(calls) != bool(problem)
        json.dumps([dict(call.arguments) for call in calls])
        read += bool(calls)
    assert read > 3000


def test_a_reply_of_a_megabyte_is_read_in_part() -> None:
    assert values_in("[" * 1_000_000) == []
    assert values_in("x" * (MOST_CHARACTERS + 10) + '{"a": 1}') == []
    assert values_in('{"a": 1}' + "{" * 1_000_000)[0] == {"a": 1}
