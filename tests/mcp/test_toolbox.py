"""The tools through the protocol's own client: in the process, over standard streams and over HTTP."""

import base64
import io
import json
import socket
import sys
import threading
import time
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import numpy as np
import pytest
import torch
from PIL import Image
from random_model import random_weights

pytest.importorskip("mcp", reason="the extra mcp is not installed")

import httpx
import httpx2
import uvicorn
from mcp.client.streamable_http import streamable_http_client

from masklet.checkpoints.weights import write
from masklet.inference.model import make_model
from masklet.mcp.requests import REQUESTS, REVIEWING, input_schema, openai_tools
from masklet.mcp.server import http_app, make_server
from masklet.mcp.toolbox import MOST_IMAGES, Toolbox
from mcp import Client, StdioServerParameters


def photo(seed: int = 0) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (48, 64, 3), np.uint8)).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("shared")
    (folder / "one.png").write_bytes(photo())
    (folder / ".hidden.png").write_bytes(photo())
    (folder / "notes.txt").write_text("secret")
    return folder


@pytest.fixture(scope="module")
def toolbox(shared) -> Toolbox:
    return Toolbox(model=make_model(random_weights(), torch.device("cpu"), torch.float32), folder=shared)


def ask(toolbox: Toolbox, *calls: tuple[str, dict]) -> list:
    """Results of calls in one session of a client in this process; "@" stands for the handle given last."""

    async def go() -> list:
        async with Client(make_server(toolbox, "0")) as client:
            return await spoken(client, calls)

    return anyio.run(go)


async def spoken(client, calls) -> list:
    results, handle = [], ""
    for name, arguments in calls:
        given = {key: handle if value == "@" else value for key, value in arguments.items()}
        results.append(await client.call_tool(name, given))
        values = results[-1].structured_content or {}
        handle = values.get("image", values.get("job", handle))
    return results


OPEN = ("open_image", {"name": "one.png"})
FIND = ("find", {"image": "@", "phrases": ["cat"], "min_score": 0.0})


def test_an_image_is_opened_asked_drawn_and_exported_by_handles(toolbox) -> None:
    box = {"box": [4, 4, 30, 30]}
    results = ask(
        toolbox,
        ("list_files", {}),
        OPEN,
        FIND,
        ("add_exemplar", {"image": "@", **box}),
        ("click", {"image": "@", "points": [[10, 10]], "labels": [1]}),
        ("ask", {"image": "@", "question": "the leftmost cat"}),
        ("facts", {"image": "@"}),
        ("show", {"image": "@"}),
        *(("export", {"image": "@", "format": each}) for each in ("coco", "rle", "polygons")),
        ("close", {"image": "@"}),
    )
    assert [result.is_error for result in results] == [False] * len(results)
    values = [result.structured_content for result in results]
    assert values[0] == {"files": ["one.png"]}
    assert (values[1]["width"], values[1]["height"]) == (64, 48)
    found = values[2]["found"]
    assert found
    assert found[0]["id"] == "A1"
    assert json.loads(results[2].content[0].text) == values[2]
    assert values[6]["table"].splitlines()[1].startswith("id | phrase | score")
    assert base64.b64decode(results[7].content[1].data).startswith(b"\x89PNG")
    assert {each["id"] for each in values[8]["objects"]} >= {each["id"] for each in found}
    assert set(values[8]["objects"][0]["segmentation"]) == {"size", "counts"}


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (("find", {"image": "image_0", "phrases": ["cat"]}), "call open_image to get a handle"),
        (("open_image", {"name": "../secret.png"}), "call list_files for what there is"),
        (("open_image", {"name": "notes.txt"}), "call list_files for what there is"),
        (("open_image", {"name": ".hidden.png"}), "call list_files for what there is"),
        (("open_image", {}), "takes either a name or data"),
        (("open_image", {"data": "no base64!"}), "data is not base64"),
        (("open_image", {"data": base64.b64encode(b"no image").decode()}), "cannot"),
        (("open_image", {"path": "/etc/passwd"}), "Extra inputs are not permitted"),
        (("track_status", {"job": "job_0"}), "call track_start to begin one"),
        (("track_start", {"name": "/dev/zero", "phrase": "cat"}), "call list_files"),
        (("rm", {}), "there is no tool 'rm'"),
    ],
)
def test_what_cannot_be_had_is_an_error_of_the_tool_with_a_way_out(toolbox, call, sentence) -> None:
    (result,) = ask(toolbox, call)
    assert result.is_error
    assert sentence in result.content[0].text


def test_unknown_ids_and_sentences_are_told(toolbox) -> None:
    results = ask(
        toolbox, OPEN, ("show", {"image": "@", "ids": ["Z9"]}), ("ask", {"image": "@", "question": "qwx of of"})
    )
    assert [result.is_error for result in results] == [False, True, True]
    assert "'Z9' does not exist" in results[1].content[0].text


def test_open_images_are_bounded(toolbox) -> None:
    data = base64.b64encode(photo(1)).decode()
    results = ask(toolbox, *[("open_image", {"data": data})] * (MOST_IMAGES + 3))
    assert len(toolbox.images) == MOST_IMAGES
    assert results[0].structured_content["image"] not in toolbox.images


def test_a_video_is_followed_in_the_background_and_can_be_stopped(toolbox, shared) -> None:
    frames = [Image.open(io.BytesIO(photo(seed))) for seed in range(4)]
    frames[0].save(shared / "clip.gif", save_all=True, append_images=frames[1:], duration=100)
    (started,) = ask(toolbox, ("track_start", {"name": "clip.gif", "phrase": "cat"}))
    job = started.structured_content["job"]
    deadline = time.monotonic() + 60
    while (state := ask(toolbox, ("track_status", {"job": job}))[0].structured_content)["state"] == "working":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert (state["state"], state["frames"]) == ("completed", 4)
    (stopped,) = ask(toolbox, ("track_cancel", {"job": job}))
    assert not stopped.is_error


def test_both_kinds_of_schema_come_from_one_type() -> None:
    listed = {each["function"]["name"]: each["function"] for each in openai_tools()}
    assert listed.keys() == REQUESTS.keys()
    for name, kind in REQUESTS.items():
        assert listed[name]["parameters"] == input_schema(name)
        assert set(input_schema(name).get("properties", {})) == set(kind.model_fields)
        assert input_schema(name)["additionalProperties"] is False


@pytest.mark.slow
def test_a_client_speaks_over_standard_streams(shared, tmp_path) -> None:
    write(random_weights(), tmp_path / "random.safetensors")
    command = ["-m", "masklet", "mcp", "--folder", str(shared), "--model", str(tmp_path / "random.safetensors")]

    async def go() -> list:
        async with Client(StdioServerParameters(command=sys.executable, args=command)) as client:
            listed = await client.list_tools()
            return [listed, *await spoken(client, [OPEN, FIND])]

    listed, opened, found = anyio.run(go)
    assert {tool.name for tool in listed.tools} == REQUESTS.keys() - REVIEWING
    assert not opened.is_error
    assert found.structured_content["found"]


@asynccontextmanager
async def served(app):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        await anyio.sleep(0.05)
    try:
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        server.should_exit = True
        thread.join()


def test_over_http_a_token_is_needed_and_foreign_pages_are_refused(toolbox) -> None:
    body = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {"protocolVersion": "2025-03-26", "capabilities": {}, "clientInfo": {"name": "old", "version": "1"}},
    }
    headers = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
    known = {**headers, "Authorization": "Bearer secret"}

    async def go() -> None:
        async with served(http_app(make_server(toolbox, "0"), "secret")) as url, httpx.AsyncClient() as client:
            for wrong in (headers, {**headers, "Authorization": "Bearer wrong"}):
                assert (await client.post(url, json=body, headers=wrong)).status_code == 401
            page = {**known, "Origin": "https://evil.example"}
            assert (await client.post(url, json=body, headers=page)).status_code == 403
            foreign = {**known, "Host": "evil.example"}
            assert (await client.post(url, json=body, headers=foreign)).status_code == 421
            shaken = await client.post(url, json=body, headers=known)  # the handshake of older clients
            assert shaken.status_code == 200
            assert "masklet" in shaken.text

    anyio.run(go)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_the_own_client_of_the_protocol_speaks_over_http_by_the_new_revision_and_the_old_handshake(
    toolbox, mode
) -> None:
    async def go() -> list:
        async with (
            served(http_app(make_server(toolbox, "0"), "secret")) as url,
            httpx2.AsyncClient(headers={"Authorization": "Bearer secret"}) as http,
            Client(streamable_http_client(url, http_client=http), mode=mode) as client,
        ):
            listed = await client.list_tools()
            return [listed, *await spoken(client, [OPEN, FIND])]

    listed, opened, found = anyio.run(go)
    assert {tool.name for tool in listed.tools} == REQUESTS.keys() - REVIEWING
    assert not opened.is_error
    assert "found" in found.structured_content
