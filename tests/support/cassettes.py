"""Cassettes: what a chat server answered to a request of the agent, kept to be played again without it.

A cassette is a JSON line for each exchange: a digest of what was asked, the status and the answer as it came. Played,
it is a server again; a question that differs from the recorded one is answered 410, which no client tries again. Those
of tests/llm/cassettes were recorded against the scripted servers below, as no language model could be run here;

    PYTHONPATH=src python tests/support/cassettes.py FILE [--url http://127.0.0.1:8080/v1 --llm MODEL] [--way json]

records one against a real server (the drawn world and the request are always the same).
"""

import argparse
import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fault_server import Answer, Behaviour, chat_server, refused, said
from toy_world import OracleSession, world

from masklet.agent.episode import AgentOutcome, run
from masklet.agent.hands import Hands
from masklet.agent.state import Mode, Settings
from masklet.llm.server import ChatServer, ServerProblem
from masklet.llm.transports import ServedModel, Way

REQUEST = "whatever somebody could drink from, on a table"
SCENE = world(1025)  # one cup on a table, one on the floor


def digest_of(body: dict[str, Any]) -> str:
    """What was asked: words and schemas in full, of images only how many, as their bytes depend on the encoder."""
    plain = {key: value for key, value in body.items() if key not in ("model", "authorization")}

    def without_images(value: Any) -> Any:
        if isinstance(value, dict):
            return "image" if value.get("type") == "image_url" else {k: without_images(v) for k, v in value.items()}
        return [without_images(each) for each in value] if isinstance(value, list) else value

    return hashlib.sha256(json.dumps(without_images(plain), sort_keys=True).encode()).hexdigest()[:16]


def episode(url: str, way: Way, mode: Mode, llm: str = "default") -> AgentOutcome:
    """The request, answered through a server."""
    server = ChatServer(url=url, model=llm, retries=2, wait=lambda _: None)
    hands = Hands(session=OracleSession(world=SCENE), image=SCENE.image)
    settings = Settings(mode=mode, is_fast=False, shows="facts and drawing")
    return run(REQUEST, SCENE.image, ServedModel(server=server, way=way), hands, settings, keep_images=False)


def record(path: Path, forward: Behaviour, way: Way, mode: Mode, llm: str = "default") -> AgentOutcome:
    """Runs the request against whatever answers, and writes what it said."""
    lines: list[str] = []

    def behaviour(body: dict[str, Any]) -> Answer:
        status, answer = forward(body)
        kept = {"digest": digest_of(body), "status": status, "answer": answer.decode("utf-8", "replace")}
        lines.append(json.dumps(kept, ensure_ascii=False))
        return status, answer

    with chat_server(behaviour) as (url, _):
        outcome = episode(url, way, mode, llm)
    about = json.dumps({"way": way, "mode": mode, "status": outcome.status, "masks": [m.id for m in outcome.marks]})
    path.write_text("\n".join([about, *lines, ""]), encoding="utf-8")
    return outcome


@contextmanager
def playing(path: Path) -> Iterator[tuple[str, dict[str, Any], list[dict[str, Any]]]]:
    """The address of a server that answers as recorded, what the cassette tells of itself, and what was asked of it."""
    about, *exchanges = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    waiting = iter(exchanges)

    def behaviour(body: dict[str, Any]) -> Answer:
        exchange = next(waiting, None)
        if exchange is None:
            return refused(410, "the cassette has ended")
        if exchange["digest"] != digest_of(body):
            return refused(410, "another request than the recorded one: record the cassette anew")
        return exchange["status"], exchange["answer"].encode()

    with chat_server(behaviour) as (url, requests):
        yield url, {**about, "exchanges": len(exchanges)}, requests


# --- servers that are scripted --------------------------------------------------------------------------------------


def _call(name: str, **arguments: Any) -> dict[str, Any]:
    return {"tool": name, "arguments": arguments}


SEGMENT = _call("segment", phrases=["cup", "bottle"], min_score=0.4)
ON_TABLE = _call("query", question="the cup on the table")


def in_order(*answers: Answer) -> Behaviour:
    """A server that says these one after the other, whatever is asked."""
    left = iter(answers)
    return lambda _: next(left)


def _as_json(call: dict[str, Any]) -> Answer:
    return said({"content": json.dumps({"thought": "a cup", "call": call})})


def _as_tool(call: dict[str, Any]) -> Answer:
    function = {"name": call["tool"], "arguments": json.dumps(call["arguments"])}
    return said({"content": None, "tool_calls": [{"id": "c1", "type": "function", "function": function}]}, "tool_calls")


def _as_text(call: dict[str, Any], before: str = "") -> Answer:
    return said({"content": f"{before}```json\n{json.dumps(call)}\n```"})


ANSWER = _call("answer", masks=["A1"], confidence=0.9)
SCRIPTS: dict[str, tuple[Way, Mode, Callable[[], Behaviour]]] = {
    "json-two-call": ("json", "two-call", lambda: in_order(_as_json(SEGMENT), _as_json(ANSWER))),
    "tools-free": (
        "tools",
        "free",
        lambda: in_order(_as_tool(ON_TABLE), _as_tool(_call("answer", masks=["A1"], confidence=0.8))),
    ),
    "text-thinking": (
        "text",
        "two-call",
        lambda: in_order(_as_text(SEGMENT, "<think>The red one? {no}</think>Let me look.\n"), _as_text(ANSWER)),
    ),
    "busy-then-broken": (
        "json",
        "two-call",
        lambda: in_order(
            refused(503, "loading"),
            said({"content": "I would segment the cups."}),
            _as_json(SEGMENT),
            _as_json(_call("answer", masks=["Z9"], confidence=1)),
            said({"content": '{"thought": "cut", "call": {"tool": "answer", "argum'}, "length"),
            _as_json(ANSWER),
        ),
    ),
    "absent": ("json", "two-call", lambda: in_order(_as_json(_call("answer_none", reason="absent")))),
    "dies": ("json", "two-call", lambda: in_order(_as_json(SEGMENT), refused(400, "context length exceeded"))),
}


def forwarding(url: str, llm: str) -> Behaviour:
    """A real server behind the recorder."""
    server = ChatServer(url=url, model=llm, retries=0)

    def behaviour(body: dict[str, Any]) -> Answer:
        rest = {key: value for key, value in body.items() if key not in ("model", "authorization")}
        try:
            return 200, json.dumps(server.complete(rest)).encode()
        except ServerProblem as problem:
            return refused(problem.status or 503, str(problem))

    return behaviour


def main() -> None:
    """Records one cassette against a real server, or all scripted ones into a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path)
    parser.add_argument("--url")
    parser.add_argument("--llm", default="default")
    parser.add_argument("--way", default="json", choices=("json", "tools", "text"))
    given = parser.parse_args()
    if given.url:
        outcome = record(given.path, forwarding(given.url, given.llm), given.way, "two-call", given.llm)
        print(outcome.status, [mark.id for mark in outcome.marks])
        return
    given.path.mkdir(parents=True, exist_ok=True)
    for name, (way, mode, behaviour) in SCRIPTS.items():
        outcome = record(given.path / f"{name}.jsonl", behaviour(), way, mode)
        print(name, outcome.status, [mark.id for mark in outcome.marks], outcome.reason)


if __name__ == "__main__":
    main()
