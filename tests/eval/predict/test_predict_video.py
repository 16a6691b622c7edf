"""Asking a tracker about videos: sessions, what is written, and a run that goes on where it was stopped."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import video_documents as vd

from masklet.errors import InputError
from masklet.eval.predict.predict_video import predict_videos, write_predictions
from masklet.eval.videos.video_files import VideoTruth, read_predictions, read_truth
from masklet.eval.videos.video_scores import score_videos
from masklet.protocols import Segmenter, VideoSegmenter


@dataclass
class Answer:
    index: int
    concepts: tuple[str, ...]
    ids: np.ndarray
    scores: np.ndarray
    masks: np.ndarray

    size, object_scores, areas = (vd.HEIGHT, vd.WIDTH), None, None

    def __len__(self) -> int:
        return len(self.ids)

    def mask(self, place: int) -> np.ndarray:
        return self.masks[place]


@dataclass
class FakeTracker(Segmenter):
    """Finds a square for each phrase, called as the phrase is numbered, but not on the second frame."""

    identity: str = "fake-1"
    shape: tuple[int, int] = (vd.HEIGHT, vd.WIDTH)
    sessions: list["FakeSession"] = field(default_factory=list)
    fails_in_session: int | None = None

    def open_video(self, source: list[Path]) -> "FakeSession":
        if self.fails_in_session == len(self.sessions):
            raise RuntimeError("killed")
        self.sessions.append(FakeSession(self, source))
        return self.sessions[-1]


@dataclass
class FakeSession(VideoSegmenter):
    tracker: FakeTracker
    frames: list[Path]
    phrases: list[str] = field(default_factory=list)
    is_open: bool = True

    def add_concept(self, phrase: str, *, frame: int) -> None:
        assert frame == 0
        self.phrases.append(phrase)

    def track(self) -> Iterator[Answer]:
        for index in range(len(self.frames)):
            masks = np.zeros((len(self.phrases), *self.tracker.shape), bool)
            if index != 1:
                masks[:, 4:10, 4 + index : 10 + index] = True
            scores = np.full(len(self.phrases), (0.6, 0.1, 0.8)[index], np.float32)
            ids = np.arange(len(self.phrases)) + 5
            yield Answer(index, tuple(self.phrases), ids, scores, masks)

    def close(self) -> None:
        self.is_open = False


def expected(index: int) -> np.ndarray:
    return vd.square(4 + index)


@pytest.fixture
def truth(tmp_path: Path) -> VideoTruth:
    """Two videos with frames on disk; of the first ten phrases are asked, of the second one."""
    annotations = [vd.truth(0, 1, [expected(0), None, expected(2)]), vd.truth(1, 2, [expected(0), None])]
    document = vd.document(annotations, [(0, phrase) for phrase in range(2, 11)], (3, 2))
    for video in document["videos"]:
        for name in video["file_names"]:
            path = tmp_path / "frames" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"picture {name}")
    path, _ = vd.write(tmp_path, document, [])
    return read_truth(path)


def predict(truth: VideoTruth, folder: Path, tracker: FakeTracker) -> list[dict]:
    return list(predict_videos(truth, folder / "frames", tracker, folder / "kept"))


def test_answers_are_masklets_as_published(truth: VideoTruth, tmp_path: Path) -> None:
    tracker, told = FakeTracker(), []
    records = predict_videos(truth, tmp_path / "frames", tracker, tmp_path / "kept", lambda: told.append(1))
    path = write_predictions(records, tmp_path / "predictions.json")
    assert len(told) == 2
    record = json.loads(path.read_text())[0]
    assert (record["video_id"], record["category_id"]) == (0, 1)
    assert record["score"] == 0.7, "the mean of 0.6 and 0.8: the frame in between does not count"
    assert record["bboxes"] == [[4, 4, 6, 6], [0, 0, 0, 0], [6, 4, 6, 6]]
    assert record["areas"] == [36, 0, 36]
    predictions = read_predictions(path, truth.videos)
    assert len(predictions) == 11
    figures = score_videos(truth, predictions).metrics()
    assert figures["video_mask_demo_positive_macro_f1_50_95"] > 0.999
    assert figures["video_bbox_all_phrase_AssA"] == 1
    assert figures["video_mask_all_phrase_DetPr"] < 0.2, "nine phrases are false alarms"


def test_phrases_of_a_video_share_sessions_eight_at_a_time(truth: VideoTruth, tmp_path: Path) -> None:
    tracker = FakeTracker()
    predict(truth, tmp_path, tracker)
    assert [len(session.phrases) for session in tracker.sessions] == [8, 2, 1]
    assert tracker.sessions[0].phrases[0] == "thing 1"
    assert [path.name for path in tracker.sessions[2].frames] == ["00000.jpg", "00001.jpg"]
    assert not any(session.is_open for session in tracker.sessions)


def test_a_stopped_run_goes_on_where_it_was(truth: VideoTruth, tmp_path: Path) -> None:
    whole = predict(truth, tmp_path, FakeTracker(identity="other"))
    with pytest.raises(RuntimeError, match="killed"):
        predict(truth, tmp_path, FakeTracker(fails_in_session=2))
    assert len(list((tmp_path / "kept/fake-1/videos").iterdir())) == 1
    again = FakeTracker()
    assert predict(truth, tmp_path, again) == whole
    assert [session.phrases for session in again.sessions] == [["thing 2"]], "the first video is kept"
    third = FakeTracker()
    assert predict(truth, tmp_path, third) == whole
    assert third.sessions == []


def test_only_what_changed_is_asked_again(truth: VideoTruth, tmp_path: Path) -> None:
    predict(truth, tmp_path, FakeTracker())
    more = VideoTruth(
        videos=truth.videos,
        masklets=truth.masklets,
        asked=truth.asked | {(1, 30)},
        phrases={**truth.phrases, 30: "red kite"},
    )
    tracker = FakeTracker()
    assert {(each.video_id, each.category_id) for each in predict(more, tmp_path, tracker)} == more.asked
    assert [session.phrases for session in tracker.sessions] == [["red kite"]]
    (tmp_path / "frames/video_0/00002.jpg").write_text("another picture")
    tracker = FakeTracker()
    predict(more, tmp_path, tracker)
    assert len(tracker.sessions) == 2
    assert {str(session.frames[0].parent.name) for session in tracker.sessions} == {"video_0"}
    tracker = FakeTracker(identity="fake-2")
    predict(more, tmp_path, tracker)
    assert len(tracker.sessions) == 3


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "no text": lambda _: b"\xff\xfe",
    "cut": lambda content: content[:-5],
    "altered": lambda content: content.replace(b'"score":0', b'"score":1'),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_file_is_asked_again(truth: VideoTruth, tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    whole = predict(truth, tmp_path, FakeTracker())
    for path in (tmp_path / "kept/fake-1/videos").iterdir():
        path.write_bytes(damage(path.read_bytes()))
    tracker = FakeTracker()
    assert predict(truth, tmp_path, tracker) == whole
    assert len(tracker.sessions) == 3


def test_a_phrase_that_finds_nothing_is_kept_as_such(truth: VideoTruth, tmp_path: Path) -> None:
    class Blind(FakeTracker):
        def open_video(self, source: list[Path]) -> FakeSession:
            session = super().open_video(source)
            session.track = lambda: iter(())
            return session

    for sessions in (3, 0):
        tracker = Blind()
        assert predict(truth, tmp_path, tracker) == []
        assert len(tracker.sessions) == sessions
    assert write_predictions(iter(()), tmp_path / "none.json").read_text() == "[]\n"


def test_frames_that_cannot_be_used_are_told_by_video(truth: VideoTruth, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="video video_0: its frames are 5 x 6 pixels, and its record says 20 x 30"):
        predict(truth, tmp_path, FakeTracker(shape=(5, 6)))
    (tmp_path / "frames/video_1/00001.jpg").unlink()
    with pytest.raises(InputError, match=r"video video_1: there is no video_1/00001\.jpg in "):
        predict(truth, tmp_path, FakeTracker())
    assert all(not each.name.startswith(".") for each in (tmp_path / "kept/fake-1/videos").iterdir())


@pytest.mark.parametrize("name", ["../secret.jpg", "/etc/hostname", "a/../../b.jpg", "C:\\x.jpg", ""])
def test_frames_stay_inside_the_folder(tmp_path: Path, name: str) -> None:
    document = vd.document([vd.truth(0, 1, [expected(0)])], lengths=(1,))
    document["videos"][0]["file_names"] = [name]
    path, _ = vd.write(tmp_path, document, [])
    with pytest.raises(InputError, match=r"video video_0: .*(leads out of|is no file name)"):
        predict(read_truth(path), tmp_path, FakeTracker())


def test_a_video_without_names_of_frames_cannot_be_asked(tmp_path: Path) -> None:
    document = vd.document([vd.truth(0, 1, [expected(0)])], lengths=(1,))
    del document["videos"][0]["file_names"]
    path, _ = vd.write(tmp_path, document, [])
    with pytest.raises(InputError, match="video video_0: its record has no file_names"):
        predict(read_truth(path), tmp_path, FakeTracker())
