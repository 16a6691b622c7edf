"""Saved sessions go on as if they had never ended, and whatever else is in such a file is refused in one sentence."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from video_scenes import COUNT, RULES, corners, from_third, indices, model, pictures, plain, script, write_clip

from masklet.checkpoints.weights import Weights
from masklet.errors import InputError
from masklet.inference.model import make_model
from masklet.inference.video.frame_result import FrameResult
from masklet.inference.video.records import FrameRecord
from masklet.inference.video.video_session import VideoSession
from masklet.models.detector import Detector
from masklet.ops.masks import rle_encode

HAVE_DEFAULTS = {  # of a track, a memory and a traversal
    *("num_unmatched", "last_occluded", "streak", "is_confirmed", "by_user"),
    *("maps", "mask"),
    *("reverse", "stride", "num_frames"),
}
POINT, OTHER = [(12.0, 16.0)], [(50.0, 34.0)]


@pytest.fixture(autouse=True)
def scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    script(monkeypatch, {"left": from_third, "corner": corners, "visual": corners})


def follow(session: VideoSession) -> VideoSession:
    """Concepts with and without examples, a clicked object and a drawn one."""
    session.add_concept("left", frame=0)
    session.add_concept("corner", boxes=[(34, 0, 64, 30)], frame=0)
    session.click(None, 0, POINT, [1])
    mask = np.zeros(session.size, dtype=bool)
    mask[26:42, 40:60] = True
    session.add_mask(None, 0, mask)
    return session


def run_on(session: VideoSession, path: Path, start: int) -> list[FrameResult]:
    """The rest of the run, by a session that was saved and read again."""
    session.save(path)
    session.close()
    with model().resume_video(path, pictures()) as resumed:
        return list(resumed.track(start=start))


@pytest.mark.parametrize("stop", [-1, 0, 2, 9, COUNT - 3])
def test_a_saved_run_goes_on_as_if_nothing_had_happened(tmp_path, stop):
    """Saved before the run, on its first frame, while results wait, and while the last ones are given."""
    with follow(model().open_video(pictures(), rules=RULES)) as session:
        whole = list(session.track())
    session, results = follow(model().open_video(pictures(), rules=RULES)), []
    for result in session.track() if stop >= 0 else ():
        results.append(result)
        if result.index == stop:
            break
    results += run_on(session, tmp_path / "session.safetensors", stop + 1)
    assert plain(results) == plain(whole)
    assert all(result.image is not None for result in results)


def test_prompts_that_were_not_followed_yet_are_kept(tmp_path):
    def correct(session: VideoSession) -> VideoSession:
        list(session.track())
        session.click(0, 6, OTHER, [0])
        session.click(0, 6, POINT, [1], add=True)
        session.click(None, 9, [(32, 24)], [1])
        return session

    with correct(follow(model().open_video(pictures(), rules=RULES))) as session:
        whole = list(session.track(start=6))
    session = correct(follow(model().open_video(pictures(), rules=RULES)))
    assert plain(run_on(session, tmp_path / "session", 6)) == plain(whole)


@pytest.mark.parametrize("at", [0, 1, 7])
def test_a_stream_goes_on_with_its_next_frame(tmp_path, at):
    def push(session: VideoSession, frames: range) -> list[FrameResult]:
        results = []
        for index in frames:
            results.append(session.push(pictures()[index]))
            if index == 0:
                follow(session)
            if index == 7:
                session.click(None, 7, [(32, 24)], [1])
        return [result for result in results if result is not None]

    with model().open_video(rules=RULES) as session:
        whole = [*push(session, range(COUNT)), *session.flush()]
    with model().open_video(rules=RULES) as session:
        results = push(session, range(at + 1))
        session.save(tmp_path / "stream")
    with model().resume_video(tmp_path / "stream") as session:
        with pytest.raises(InputError, match="the stream"):
            session.push(np.zeros((9, 9, 3), dtype=np.uint8))
        results += [*push(session, range(at + 1, COUNT)), *session.flush()]
    assert indices(whole) == list(range(COUNT))
    assert plain(results) == plain(whole)


def test_a_session_that_saw_nothing_can_be_saved(tmp_path):
    with model().open_video() as session:
        session.save(tmp_path / "empty")
    with model().resume_video(tmp_path / "empty") as session:
        assert session.object_ids == ()
        assert session.push(pictures()[0]) is not None


def test_options_and_ids_go_along(tmp_path):
    with model().open_video(pictures(), rules="sam3.1", delay=3, history_frames=7, memory_frames=2) as session:
        session.click(41, 0, POINT, [1])
        session.save(tmp_path / "session")
        with model().resume_video(tmp_path / "session", pictures()) as resumed:
            assert (resumed.rules, resumed.delay) == (session.rules, 3)
            assert (resumed.results.history.limit, resumed.memory_frames) == (7, 2)
            assert resumed.click(None, 0, OTHER, [1]) is not None
            assert resumed.object_ids == (41, 42)


def test_the_history_in_the_file_has_its_limit(tmp_path):
    with model().open_video(pictures(), history_frames=4) as session:
        session.click(0, 0, POINT, [1])
        list(session.track())
        session.save(tmp_path / "session")
    document, _ = parts(tmp_path / "session")
    assert [entry["result"]["index"] for entry in document["history"]] == list(range(COUNT - 4, COUNT))


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    with follow(model().open_video(pictures(), rules=RULES)) as session:
        session.save(tmp_path / "session")
        before = (tmp_path / "session").read_bytes()

        def fail(_tensors: object, path: Path, _metadata: object) -> None:
            Path(path).write_bytes(b"half")
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("masklet.inference.video.archive.save_file", fail)
        with pytest.raises((InputError, OSError)):
            session.save(tmp_path / "session")
    assert [path.name for path in tmp_path.iterdir()] == ["session"]
    assert (tmp_path / "session").read_bytes() == before


def test_no_failure_to_save_is_more_than_a_sentence_and_none_costs_the_video(tmp_path, monkeypatch):
    clip = write_clip(tmp_path / "clip.mp4")
    whole = clip.read_bytes()
    with model().open_video(clip) as session:
        with pytest.raises(InputError, match="would replace the video itself"):
            session.save(clip)
        monkeypatch.setattr("masklet.inference.video.archive.save_file", Mock(side_effect=SafetensorError("too large")))
        with pytest.raises(InputError, match=r"cannot write .*session: too large"):
            session.save(tmp_path / "session")
    assert clip.read_bytes() == whole
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]


# --- what is no session -------------------------------------------------------------------------------------------


def parts(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    with safe_open(path, "pt") as opened:
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - not a dict
    return json.loads(tensors.pop("document").numpy().tobytes()), tensors


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A session in the midst of a run, with a prompt that was not followed yet."""
    path = tmp_path_factory.mktemp("saved") / "session"
    with pytest.MonkeyPatch.context() as monkeypatch:
        script(monkeypatch, {"left": from_third, "corner": corners})
        with follow(model().open_video(pictures(), rules=RULES)) as session:
            run = session.track()
            next(run)
            session.click(None, 1, OTHER, [1])
            session.add_mask(None, 1, np.ones(session.size, dtype=bool))
            session.save(path)
    return path


def places(value: Any, at: tuple = ()) -> list[tuple]:
    """Paths to the parts of a document, one of each kind: of a list the first, of numbered entries the first."""
    items = list(value.items()) if isinstance(value, dict) else []
    if isinstance(value, list):
        items = list(enumerate(value))[:1]
    if all(str(key).isdigit() for key, _ in items):
        items = items[:1]
    return [place for key, part in items for place in [(*at, key), *places(part, (*at, key))]]


def damage(saved: Path, path: Path, change: Callable[[dict, dict], None]) -> Path:
    document, tensors = parts(saved)
    change(document, tensors)
    return write(path, tensors, json.dumps(document))


def write(path: Path, tensors: dict, text: str) -> Path:
    document = torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)
    save_file({**tensors, "document": document}, path, {"format": "masklet session 3"})
    return path


def refused(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        model().resume_video(path, pictures())
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_session_that_lacks_any_part_is_refused(saved, tmp_path):
    document, _ = parts(saved)
    named = [place for place in places(document) if isinstance(place[-1], str) and not place[-1].isdigit()]
    needed = [place for place in named if place[0] != "rules" and place[-1] not in HAVE_DEFAULTS]
    assert len(needed) > 50
    for place in needed:

        def remove(document: dict, _tensors: dict, place: tuple = place) -> None:
            for key in place[:-1]:
                document = document[key]
            del document[place[-1]]

        assert refused(damage(saved, tmp_path / "damaged", remove)), place


def test_tensors_that_do_not_fit_are_refused(saved, tmp_path):
    _, tensors = parts(saved)
    kinds = {name.split("/")[1]: name for name in tensors}
    assert set(kinds) == {
        "mask_logits",
        "object_logits",
        "pointers",
        "maps",
        "mask",
        "points_xy",
        "point_labels",
        "tokens",
        "valid",
    }
    for name in kinds.values():

        def bend(_document: dict, tensors: dict, name: str = name) -> None:
            tensors[name] = tensors[name][..., None].contiguous()

        def drop(_document: dict, tensors: dict, name: str = name) -> None:
            del tensors[name]

        for change in (bend, drop):
            assert "damaged session" in refused(damage(saved, tmp_path / "damaged", change)), name


def test_what_is_no_session_is_refused(saved, tmp_path):
    path = tmp_path / "file"
    assert "cannot read the session" in refused(path)
    path.write_bytes(b"PK\x03\x04 not safetensors")
    assert "cannot read the session" in refused(path)
    path.write_bytes(saved.read_bytes()[:-100])
    assert "cannot read the session" in refused(path)
    save_file({"a": torch.zeros(1)}, path)
    assert "is not a session" in refused(path)
    for text in ("{", "[]", "7", "null", '"text"', "[" * 100_000):
        refused(write(path, {}, text))
    save_file({}, path, {"format": "masklet session 3"})
    assert "damaged session" in refused(path)
    assert "the session of another model" in refused(write(path, {}, "{}"))
    save_file({}, path, {"format": "masklet session 1"})
    assert "a session of another version" in refused(path)


ABSURD = {
    "a large id": lambda d: d["cohorts"][0]["object_ids"].__setitem__(0, 10**30),
    "a negative id": lambda d: d["cohorts"][0]["object_ids"].__setitem__(0, -4),
    "an id twice": lambda d: d["cohorts"].append(d["cohorts"][0]),
    "a next id that is taken": lambda d: d.__setitem__("next_id", 0),
}


def test_absurd_numbers_are_refused(saved, tmp_path):
    changes: dict[str, Callable[[dict], object]] = {
        **{name: lambda d, change=change: change(d["state"]) for name, change in ABSURD.items()},
        "no number": lambda d: d["state"]["scores"].update({"0": float("nan")}),
        "a stride of nothing": lambda d: d["progress"]["course"].__setitem__("stride", 0),
        "a frame before the first": lambda d: d["progress"]["covered"].append(-1),
        "many pushed frames": lambda d: d["sight"].__setitem__("num_pushed", 10**400),
        "a size of nothing": lambda d: d["sight"].__setitem__("size", [0, 0]),
        "a rule that is none": lambda d: d["rules"].__setitem__("min_score", "high"),
        "a mask of another size": lambda d: d["history"][0]["result"].__setitem__("size", [10**6, 10**6]),
        "an endless mask": lambda d: d["history"][0]["result"]["rles"].__setitem__(0, "ooooooooo1"),
    }
    for name, change in changes.items():
        path = damage(saved, tmp_path / "damaged", lambda document, _, change=change: change(document))
        assert refused(path), name


def test_a_long_history_of_a_crowd_is_saved(tmp_path):
    """200 masks on each of 1,000 frames: more than the header of a file of tensors may hold."""
    row, ones = rle_encode(np.eye(512, dtype=bool)), np.ones(200, dtype=np.float32)
    with model().open_video(pictures()) as session:
        session.click(0, 0, POINT, [1])
        for index in range(1000):
            result = FrameResult(
                index=index,
                time=float(index),
                size=(512, 512),
                ids=np.arange(200),
                concepts=("person",) * 200,
                scores=ones,
                object_scores=ones,
                precedence=ones,
                rles=(row,) * 200,
            )
            session.results.history.store(FrameRecord(result=result))
        session.save(tmp_path / "session")
    assert (tmp_path / "session").stat().st_size > 100 * 2**20


def test_a_session_of_another_video_or_model_is_refused(saved):
    with pytest.raises(InputError, match="of a video of another size"):
        model().resume_video(saved, [np.zeros((20, 30, 3), dtype=np.uint8)])
    config = replace(model().detector.config, decoder=replace(model().detector.config.decoder, num_queries=7))
    other = make_model(
        Weights(config=config, state=Detector(config).state_dict(), origin="random"), model().device, torch.float32
    )
    with pytest.raises(InputError, match="is the session of another model"):
        other.resume_video(saved, pictures())
