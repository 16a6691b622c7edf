"""kill -9 in the middle of work: what was acknowledged is there again."""

import signal
import threading
from collections.abc import Callable
from pathlib import Path

import httpx2
import numpy as np
import pytest
from engine_world import open_world
from reviewing import write_project
from serving import photo_bytes, running_server, write_clip

from masklet.client import Client
from masklet.ops.masks import rle_encode
from masklet.serve.review.review_schemas import ReviewCard, VerdictRow, VerdictsBody
from masklet.serve.schemas import DrawBody, RleMask, TrackBody, VideoClickBody


def test_a_killed_server_has_lost_nothing_that_it_acknowledged(base: Path, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", frames=40)
    mask = np.zeros((64, 96), bool)
    mask[5:25, 5:25] = True
    drawing = DrawBody(phrase="cup", mask=RleMask(size=(64, 96), counts=rle_encode(mask)))
    with running_server(tmp_path / "kept", str(base)) as server:
        client = Client(server.address)
        photo = client.open_image(photo_bytes()).id
        drawn = client.draw(photo, drawing)
        video = client.open_video(clip).id
        client.click_video(video, VideoClickBody(frame=0, box=(8.0, 20.0, 28.0, 40.0)))
        seen = []
        for row in client.frames(client.track(video).id):
            seen.append(row.frame)
            if len(seen) == 5:
                break
        server.process.send_signal(signal.SIGKILL)
        server.process.wait(30)
    with running_server(tmp_path / "kept", str(base)) as server:
        client = Client(server.address)
        assert client.image(photo) == drawn
        kept = {each.index: each for each in client.results(video)}
        assert [kept[each.index] for each in seen if each] == seen
        assert client.video(video).objects == [0]
        rows = list(client.frames(client.track(video, TrackBody(start=len(kept), stop=len(kept) + 3)).id))
        assert rows[-1].job is not None
        assert (rows[-1].job.state, rows[-1].job.error) == ("done", None)


def test_verdicts_that_were_acknowledged_outlive_a_kill_in_the_middle_of_others(base: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    project = write_project(tmp_path / "project", photos, 12)
    acknowledged: list[str] = []
    with running_server(tmp_path / "kept", str(base), "--project", str(project)) as server:
        client = Client(server.address)
        cards = client.review(limit=60).cards
        assert len(cards) > 20
        enough = threading.Event()

        def answer() -> None:
            for card in cards:
                assert client.decide(accepting(card)).counts == {"taken": 1}
                acknowledged.append(subject(card))
                if len(acknowledged) == 8:
                    enough.set()

        asking = threading.Thread(target=expecting(httpx2.HTTPError, answer))
        asking.start()
        assert enough.wait(60)
        server.process.send_signal(signal.SIGKILL)
        server.process.wait(30)
        asking.join(30)
    view = open_world(project, photos).view
    said = {
        row["subject"]
        for pair in view.pairs()
        for row in view.verdicts(pair["pair_id"], "mask")
        if row["kind"] == "person"
    }
    assert 8 <= len(acknowledged) < len(cards)
    assert set(acknowledged) <= said
    assert len(said) <= len(acknowledged) + 1  # the one that was under way
    with running_server(tmp_path / "kept", str(base), "--project", str(project)) as server:
        client = Client(server.address)
        for card in cards:  # a page that heard no answer sends all of them once more
            client.decide(accepting(card))
    view = open_world(project, photos).view
    rows = [row for pair in view.pairs() for row in view.verdicts(pair["pair_id"], "mask") if row["kind"] == "person"]
    assert sorted(row["subject"] for row in rows) == sorted(subject(card) for card in cards)


def subject(card: ReviewCard) -> str:
    return f"{card.maskset}#{card.number}"


def accepting(card: ReviewCard) -> VerdictsBody:
    row = VerdictRow(pair=card.pair, maskset=card.maskset, number=card.number, label="accept", seconds=1)
    return VerdictsBody(task="masks", name="Ada", answers=[row])


def expecting(error: type[Exception], work: Callable[[], None]) -> Callable[[], None]:
    """The same work, which has to end by an error."""

    def run() -> None:
        with pytest.raises(error):
            work()

    return run
