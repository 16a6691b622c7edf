"""Questions of a project through the protocol's own client; verdicts are in its ledger."""

from pathlib import Path

import anyio
import pytest
from engine_world import ColourSegmenter, open_world, run_world, write_photos

pytest.importorskip("mcp", reason="the extra mcp is not installed")

import torch
from random_model import random_weights

from masklet import cli
from masklet.errors import InputError
from masklet.inference.model import make_model
from masklet.mcp.reviewing import ReviewQueues
from masklet.mcp.server import make_server
from masklet.mcp.toolbox import Toolbox
from masklet.workflows.engine.folder import ProjectSettings, open_project, write_settings
from mcp import Client

MODEL = make_model(random_weights(), torch.device("cpu"), torch.float32)


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("review")
    photos = write_photos(folder / "photos", 2)
    write_settings(folder / "project", ProjectSettings(photos=str(photos)))
    run_world(open_world(folder / "project", photos), ColourSegmenter(score=0.5))
    return folder / "project"


def spoken(toolbox: Toolbox, *calls: tuple[str, dict]) -> tuple[list, set[str]]:
    async def go() -> tuple[list, set[str]]:
        async with Client(make_server(toolbox, "0")) as client:
            names = {each.name for each in (await client.list_tools()).tools}
            return [await client.call_tool(name, given) for name, given in calls], names

    return anyio.run(go)


def test_a_question_is_shown_answered_and_in_the_ledger(project) -> None:
    toolbox = Toolbox(model=MODEL, reviews=ReviewQueues(folder=project, reviewer="Ada"))
    (first, second), names = spoken(toolbox, ("review_next", {}), ("review_next", {"task": "masks"}))
    assert {"review_next", "review_answer"} <= names
    told, other = first.structured_content, second.structured_content
    assert (told["handle"], other["handle"]) == ("question1", "question2")
    assert told["question"] == "Does the mask show this, whole and alone?"
    assert {"accept", "reject", "unsure"} <= set(told["answers"])
    assert first.content[1].mime_type == "image/png"
    given = {"question": "question1", "answer": "accept"}
    wrong = {"question": "question2", "answer": "perhaps"}
    calls = [("review_answer", each) for each in (given, wrong, {"question": "question9", "answer": "accept"})]
    (entered, refused, unknown), _ = spoken(toolbox, *calls)
    assert sum(entered.structured_content["entered"].values()) >= 1
    assert refused.is_error
    assert "'perhaps' is no answer; it is one of" in refused.content[0].text
    assert "call review_next for one" in unknown.content[0].text
    from sqlalchemy import select

    from masklet.engine.ledger import tables

    rows = open_project(project).view.ledger.read(select(tables.actor.c.name))
    assert "Ada" in {row["name"] for row in rows}


def test_without_a_project_there_are_no_such_tools() -> None:
    (refused,), names = spoken(Toolbox(model=MODEL), ("review_next", {}))
    assert "review_next" not in names
    assert "masklet mcp needs --project for reviews" in refused.content[0].text


def test_a_folder_that_is_none_and_a_missing_name_are_refused(tmp_path, project, capsys) -> None:
    with pytest.raises(InputError):
        ReviewQueues(folder=tmp_path / "nothing", reviewer="Ada")
    with pytest.raises(InputError, match="verdicts need a name"):
        ReviewQueues(folder=project, reviewer=" ")
    assert cli.main(["mcp", "--project", str(project)]) == 2
    assert "--project needs --reviewer" in capsys.readouterr().err
