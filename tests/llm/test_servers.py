"""Servers that work, and servers that do not: what is asked of them, and one sentence for each fault."""

import json

import pytest
from fault_server import chat_server, refused, said

from masklet.errors import InputError
from masklet.llm.messages import Message, Picture, ToolCall, ToolDescription
from masklet.llm.places import Convention
from masklet.llm.probe import Shown, probe
from masklet.llm.server import MOST_BYTES, ChatServer, ServerProblem, checked_address
from masklet.llm.transports import ServedModel, written

TOOL = ToolDescription(
    name="answer",
    description="Answers.",
    parameters={
        "type": "object",
        "properties": {"masks": {"type": "array", "items": {"type": "string"}}},
        "required": ["masks"],
        "additionalProperties": False,
    },
)
ASKED = [Message(role="user", parts=("which?", Picture(data=b"png")))]
ANSWER = {"tool": "answer", "arguments": {"masks": ["A1"]}}


def model(url: str, way="json", **settings) -> ServedModel:
    return ServedModel(
        server=ChatServer(url=url, model="m", wait=lambda _: None, **{"retries": 2, "timeout": 5.0, **settings}),
        way=way,
    )


@pytest.mark.parametrize(
    "url",
    [
        "http://8.8.8.8/v1",
        "https://api.example.com/v1",
        "http://[2001:4860:4860::8888]/",
        "http://[::ffff:8.8.8.8]/",
        "http://0.0.0.0/",
    ],
)
def test_public_addresses_are_refused_and_no_name_is_looked_up(url, monkeypatch) -> None:
    monkeypatch.setattr("socket.getaddrinfo", lambda *_: pytest.fail("a name was looked up"))
    with pytest.raises(InputError, match="allow it with --allow-remote"):
        checked_address(url)
    assert checked_address(url, allow_remote=True) == url.rstrip("/")


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8080/v1/", "http://localhost/v1", "http://[::1]:1/v1", "http://192.168.1.7/v1"]
)
def test_this_machine_and_private_networks_are_taken(url) -> None:
    assert checked_address(url) == url.rstrip("/")


@pytest.mark.parametrize("url", ["ftp://127.0.0.1", "127.0.0.1:80", "", "http://"])
def test_what_is_no_address_is_refused(url) -> None:
    with pytest.raises(InputError, match="is no address of a server"):
        checked_address(url)


def test_each_way_of_asking_gives_the_same_call(monkeypatch) -> None:
    monkeypatch.setenv("MASKLET_LLM_KEY", "secret")
    native = {
        "tool_calls": [{"id": "x", "function": {"name": "answer", "arguments": '{"masks": ["A1"]}'}}],
        "content": None,
    }
    for way, message in (
        ("json", {"content": json.dumps({"thought": "", "call": ANSWER})}),
        ("tools", native),
        ("text", {"content": f"<tool>{json.dumps(ANSWER)}</tool>"}),
    ):
        with chat_server(lambda _, message=message: said(message)) as (url, requests):
            reply = model(url, way).reply(ASKED, [TOOL])
        assert [(call.name, dict(call.arguments)) for call in reply.calls] == [("answer", {"masks": ["A1"]})]
        assert (reply.usage.requests, reply.usage.prompt_tokens) == (1, 10)
        assert requests[0]["authorization"] == "Bearer secret"
        assert requests[0]["messages"][0]["content"][1]["image_url"]["url"].startswith("data:image/png;base64,")
        assert ("response_format" in requests[0], "tools" in requests[0]) == (way == "json", way == "tools")


def test_results_of_tools_show_images_in_a_turn_of_the_user() -> None:
    result = Message(role="tool", parts=("shown", Picture(data=b"x")), call_id="c", name="inspect")
    assert [turn["role"] for turn in written(result, "tools")] == ["tool", "user"]
    assert [turn["role"] for turn in written(result, "json")] == ["user"]
    call = Message(role="assistant", parts=("",), calls=(ToolCall(name="inspect", arguments={}, id="c"),))
    assert written(call, "tools")[0]["tool_calls"][0]["id"] == "c"


@pytest.mark.parametrize(
    ("answer", "sentence", "tries"),
    [
        (refused(500), "answered 500", 3),
        (refused(429), "answered 429", 3),
        (refused(400, "no tools here"), "answered 400: .*no tools here", 1),
        (refused(302), "answered 302", 1),
        ((200, b"<html>"), "did not answer like a chat server", 1),
        ((200, b'{"choices": [{"message": "hello"}]}'), "its message is no object", 1),
        ((200, b"[" * 100_000), "did not answer like a chat server", 1),
        ((200, b" " * (MOST_BYTES + 1)), "said more than 4 MB", 1),
        (said({"content": ""}), "the model said nothing", 1),
    ],
)
def test_each_fault_of_a_server_is_a_sentence(answer, sentence, tries) -> None:
    with chat_server(lambda _: answer) as (url, requests), pytest.raises(ServerProblem, match=sentence):
        model(url).reply(ASKED, [TOOL])
    assert len(requests) == tries


def test_a_server_that_is_not_there_is_named() -> None:
    with pytest.raises(ServerProblem, match=r"http://127\.0\.0\.1:9/v1 cannot be reached"):
        model("http://127.0.0.1:9/v1").reply(ASKED, [TOOL])


def test_what_passes_is_tried_again_and_a_cut_reply_gets_more_room() -> None:
    answers = [refused(503), said({"content": '{"tool": "ans'}, "length"), said({"content": json.dumps(ANSWER)})]
    with chat_server(lambda _: answers.pop(0)) as (url, requests):
        reply = model(url).reply(ASKED, [TOOL])
    assert reply.calls[0].name == "answer"
    assert requests[-1]["max_tokens"] == 2 * requests[0]["max_tokens"]
    assert "Answer now" in requests[-1]["messages"][-1]["content"]


SHOWN = [
    Shown(picture=Picture(data=b"one"), size=(448, 672), name="red square", colour="red", box=(0.1, 0.2, 0.3, 0.5)),
    Shown(picture=Picture(data=b"two"), size=(896, 448), name="blue circle", colour="blue", box=(0.5, 0.1, 0.9, 0.3)),
]


def able(body, ways, *, sees=True):
    way = "json" if "response_format" in body else "tools" if "tools" in body else "text"
    content = body["messages"][0]["content"]
    words = content if isinstance(content, str) else content[0]["text"]
    shown = None if isinstance(content, str) else SHOWN["dHdv" in content[1]["image_url"]["url"]]
    if "bounding box" in words:
        box = [round(1000 * value) for value in shown.box]
        return said({"content": json.dumps({"bbox_2d": box})})
    if way not in ways:
        return refused(400)
    colour = "green" if shown is None else shown.colour if sees else "green"
    call = {"tool": "echo", "arguments": {"colour": colour}}
    if way == "tools":
        return said(
            {"tool_calls": [{"id": "1", "function": {"name": "echo", "arguments": json.dumps(call["arguments"])}}]}
        )
    return said({"content": json.dumps(call)})


@pytest.mark.parametrize("way", ["json", "tools", "text"])
def test_the_probe_finds_a_way_that_works(way) -> None:
    with chat_server(lambda body: able(body, {way})) as (url, _):
        found = probe(model(url).server, SHOWN)
    assert (found.way, found.sees, found.convention) == (way, True, Convention(scale="thousand"))
    assert found.verdict.startswith(f"the agent works ({way})")


def test_the_probe_says_what_does_not_work() -> None:
    with chat_server(lambda body: able(body, {"json"}, sees=False)) as (url, _):
        assert "does not see images" in probe(model(url).server, SHOWN).verdict
    with chat_server(lambda _: refused(404, "no such model")) as (url, _):
        found = probe(model(url).server, SHOWN)
    assert "cannot use this server" in found.verdict
    assert "no such model" in found.notes[0]
