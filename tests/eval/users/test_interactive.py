"""Simulated users: where they click, what they show, when they stop, and how their curves are counted."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from masklet.config import debug
from masklet.data.schema import Example, PhraseQuery
from masklet.errors import InputError
from masklet.eval.predict.labelled import LabelledImages
from masklet.eval.users.exemplars import (
    Examples,
    ExemplarCurves,
    RoundScores,
    correct_concepts,
    draw_error,
    mend,
)
from masklet.eval.users.interactive import (
    Click,
    ClickedObject,
    click_images,
    click_object,
    draw_objects,
    image_figures,
    next_click,
)
from masklet.eval.users.interactive_video import (
    CLICKS_PER_FRAME,
    CorrectedObject,
    find_objects,
    follow_objects,
    follow_offline,
    follow_online,
    video_figures,
)
from masklet.eval.videos.vos import score_masklet
from masklet.ops.corrections import DetectionErrors, find_errors
from masklet.protocols import ImageSegmenter, Segmenter, VideoSegmenter

HEIGHT, WIDTH = 24, 32


def rectangle(left: int, top: int, right: int, bottom: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[top:bottom, left:right] = True
    return mask


NOTHING = rectangle(0, 0, 0, 0)

# --- clicks -------------------------------------------------------------------------------------------------------


def test_the_first_click_is_on_the_centre() -> None:
    assert next_click(rectangle(5, 4, 14, 13), NOTHING) == Click(9.5, 8.5, 1)


def test_the_border_of_the_image_is_an_edge() -> None:
    assert next_click(rectangle(0, 0, 9, 9), NOTHING) == Click(4.5, 4.5, 1)


def test_the_larger_error_is_clicked_first_whether_missed_or_surplus() -> None:
    truth = rectangle(2, 2, 12, 12)
    missing_a_strip = truth & ~rectangle(9, 2, 12, 12)
    click = next_click(truth, missing_a_strip | rectangle(18, 2, 25, 9))
    assert click == Click(21.5, 5.5, 0)
    click = next_click(truth, rectangle(18, 2, 21, 5))
    assert click is not None
    assert (click.label, truth[int(click.y), int(click.x)]) == (1, True)


def test_where_nothing_is_wrong_nobody_clicks() -> None:
    assert next_click(rectangle(2, 2, 5, 5), rectangle(2, 2, 5, 5)) is None
    assert next_click(NOTHING, NOTHING) is None


def test_a_click_is_the_deepest_pixel_of_all_errors() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        truth, predicted = ndimage.gaussian_filter(rng.random((2, HEIGHT, WIDTH)), (0, 2, 2)) > 0.5
        click = next_click(truth, predicted)
        assert click is not None
        depths = [
            ndimage.distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1]
            for region in (predicted & ~truth, truth & ~predicted)
        ]
        assert depths[click.label][int(click.y), int(click.x)] == max(depth.max() for depth in depths)


@dataclass
class Painter(Segmenter, ImageSegmenter):
    """Answers with what lies within two pixels of the clicks on the object, and keeps what it is handed back."""

    identity, size = "painter", (HEIGHT, WIDTH)
    asked: list[tuple] = field(default_factory=list)
    opened: int = 0
    open_now: int = 0

    def open(self, image: Path) -> "Painter":
        assert image.is_file()
        self.opened, self.open_now = self.opened + 1, self.open_now + 1
        return self

    def close(self) -> None:
        self.open_now -= 1

    def click(
        self, points: Sequence[tuple[float, float]], labels: Sequence[int], *, mask: np.ndarray | None
    ) -> "Painter":
        self.asked.append((list(points), list(labels), None if mask is None else mask.copy()))
        painted = np.zeros((HEIGHT, WIDTH), bool) if mask is None else mask.copy()
        (x, y), label = points[-1], labels[-1]
        painted[int(y) - 2 : int(y) + 3, int(x) - 2 : int(x) + 3] = label
        self.masks, self.logits = np.stack([painted, ~painted]), [painted, None]
        return self


def test_clicks_add_up_and_the_answer_is_handed_back() -> None:
    painter, truth = Painter(), rectangle(3, 3, 18, 8)
    iou = click_object(painter, truth, 4)
    np.testing.assert_allclose(iou, [1 / 3, 2 / 3, 1, 1])
    assert [len(points) for points, _, _ in painter.asked] == [1, 2, 3]
    assert painter.asked[0][2] is None
    assert [int(mask.sum()) for _, _, mask in painter.asked[1:]] == [25, 50]
    assert painter.asked[2][1] == [1, 1, 1]


def example(masks: Sequence[np.ndarray], *, boxes: Sequence[int] = (), queries: Sequence[PhraseQuery] = ()) -> Example:
    """Objects by their masks, those in `boxes` labelled by boxes alone."""
    extents = [[c.min(), r.min(), c.max() + 1, r.max() + 1] for r, c in map(np.nonzero, masks)]
    shown = [NOTHING if row in boxes else mask for row, mask in enumerate(masks)]
    return Example(
        image=np.zeros((HEIGHT, WIDTH, 3), np.uint8),
        boxes_xyxy=np.array(extents, np.float32).reshape(-1, 4),
        masks=np.array(shown, bool).reshape(-1, HEIGHT, WIDTH),
        mask_valid=np.array([row not in boxes for row in range(len(masks))], bool),
        queries=tuple(queries),
        source="test",
    )


class Labelled(LabelledImages):
    """Labels made on the spot, of one picture that is there."""

    def __init__(self, path: Path, examples: Sequence[Example]) -> None:
        Image.new("RGB", (WIDTH, HEIGHT)).save(path)
        self._path, self._examples = path, examples

    def __len__(self) -> int:
        return len(self._examples)

    def name(self, index: int) -> str:
        return f"{index}.png"

    def path(self, index: int) -> Path:
        assert index < len(self)
        return self._path

    def example(self, index: int) -> Example:
        return self._examples[index]


def test_each_image_is_opened_once_and_objects_without_masks_are_left_out(tmp_path: Path) -> None:
    squares = [rectangle(x, 3, x + 5, 8) for x in (0, 6, 12)]
    labelled = Labelled(tmp_path / "a.png", [example(squares, boxes=[1]), example(squares[:1], boxes=[0])])
    painter, calls = Painter(), []
    objects = list(click_images(labelled, painter, num_clicks=3, advance=lambda: calls.append(1)))
    assert [(each.image, each.area, each.iou.tolist()) for each in objects] == [("0.png", 25, [1, 1, 1])] * 2
    assert (painter.opened, painter.open_now, len(calls)) == (1, 0, 2)


def test_objects_are_drawn_by_chance_and_bounded() -> None:
    crowd = example([rectangle(x, 3, x + 1, 8) for x in range(20)])
    drawn = [draw_objects(crowd, np.random.default_rng(seed)) for seed in range(5)]
    assert all(len(each) == 5 for each in drawn)
    assert len({tuple(each) for each in drawn}) > 1
    assert drawn[0] == draw_objects(crowd, np.random.default_rng(0))


def test_figures_are_means_over_objects_and_sizes_add_up() -> None:
    objects = [
        ClickedObject(image="a", area=100, iou=np.array([0.5, 0.86, 0.8])),
        ClickedObject(image="a", area=32**2, iou=np.array([0.7, 0.8, 0.92])),
        ClickedObject(image="b", area=10**6, iou=np.array([0.9, 0.9, 0.9])),
        ClickedObject(image="b", area=10**6, iou=np.array([0.1, 0.2, 0.3])),
    ]
    figures = image_figures(objects, 3)
    np.testing.assert_allclose(figures["mean_IoU"], [0.55, 0.69, 0.73])
    sizes = figures["by_size"]
    assert [sizes[name]["objects"] for name in ("small", "medium", "large")] == [1, 1, 2]
    np.testing.assert_allclose(sizes["large"]["mean_IoU"], [0.5, 0.55, 0.6])
    assert figures["targets"]["0.85"] == {"reached": [0.25, 0.5, 0.75], "clicks": (2 + 3 + 1 + 3) / 4}
    assert figures["targets"]["0.9"] == {"reached": [0.25, 0.25, 0.5], "clicks": (3 + 3 + 1 + 3) / 4}


def test_a_size_without_objects_has_no_mean() -> None:
    figures = image_figures([ClickedObject(image="a", area=5, iou=np.array([0.5]))], 1)
    assert figures["by_size"]["large"] == {"objects": 0, "mean_IoU": [None]}


# --- videos -------------------------------------------------------------------------------------------------------


@dataclass
class Seen:
    index: int
    found: np.ndarray

    size, ids, concepts, scores, object_scores, areas, masks = (HEIGHT, WIDTH), None, (), None, None, None, None

    def __len__(self) -> int:
        return int(self.found.any())

    def mask(self, place: int) -> np.ndarray:
        assert place == 0
        return self.found


@dataclass
class Follower(Segmenter):
    """Shows the truth on frames clicked on and for `reach` frames after each of them, and then nothing."""

    identity = "follower"
    truth: np.ndarray
    reach: int
    sessions: list["FollowedClip"] = field(default_factory=list)

    def open_video(self, source: Sequence[Path]) -> "FollowedClip":
        assert len(source) == len(self.truth)
        self.sessions.append(FollowedClip(self.truth, self.reach))
        return self.sessions[-1]


@dataclass
class FollowedClip(VideoSegmenter):
    truth: np.ndarray
    reach: int
    clicks: dict[int, list] = field(default_factory=dict)
    closed: bool = False
    visited: list[int] = field(default_factory=list)

    def click(
        self, object_id: int, frame: int, points: Sequence[tuple[float, float]], labels: Sequence[int], *, add: bool
    ) -> Seen:
        """A part of the truth more with each click: only three show all of it."""
        assert (object_id, add, len(points), len(labels)) == (0, True, 1, 1)
        self.clicks.setdefault(frame, []).append((points[0], labels[0]))
        return Seen(frame, self._on_clicked(frame))

    def _on_clicked(self, frame: int) -> np.ndarray:
        shown = self.truth[frame].copy()
        shown[:, int(np.nonzero(shown)[1].min()) + 3 * len(self.clicks[frame]) :] = False
        return shown if len(self.clicks[frame]) < CLICKS_PER_FRAME else self.truth[frame]

    def track(self, *, start: int) -> Iterator[Seen]:
        for frame in range(start, len(self.truth)):
            self.visited.append(frame)
            near = any(0 <= frame - clicked <= self.reach for clicked in self.clicks)
            yield Seen(frame, self.truth[frame] if near else NOTHING)

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def clip() -> np.ndarray:
    return np.stack([rectangle(2 + step, 3, 16 + step, 12) for step in range(10)])


PATHS = [Path(f"{i}.jpg") for i in range(10)]


def test_offline_the_worst_frame_of_each_pass_gets_three_clicks(clip: np.ndarray) -> None:
    follower = Follower(clip, reach=3)
    scores = follow_offline(follower, PATHS, clip, 5)
    [session] = follower.sessions
    assert list(session.clicks) == [0, 4, 8]
    assert [len(given) for given in session.clicks.values()] == [3, 3, 3]
    np.testing.assert_allclose(scores, [0.4, 0.8, 1.0, 1.0, 1.0])
    assert session.closed


def test_offline_looks_at_a_frame_again_when_it_is_still_the_worst(clip: np.ndarray) -> None:
    class Stubborn(FollowedClip):
        def track(self, *, start: int) -> Iterator[Seen]:
            return (Seen(frame, NOTHING if frame == 0 else self.truth[frame]) for frame in range(start, 10))

    class Model(Follower):
        def open_video(self, source: Sequence[Path]) -> FollowedClip:
            self.sessions.append(Stubborn(self.truth, len(source)))
            return self.sessions[-1]

    follower = Model(clip, reach=3)
    np.testing.assert_allclose(follow_offline(follower, PATHS, clip, 3), [0.9, 0.9, 0.9])
    clicks = {frame: len(given) for frame, given in follower.sessions[0].clicks.items()}
    assert clicks == {0: 3 + 1 + 1}  # from the fourth on a click shows all, and another is not needed


def test_online_the_clip_is_stopped_where_the_object_is_lost(clip: np.ndarray) -> None:
    follower = Follower(clip, reach=3)
    scores = follow_online(follower, PATHS, clip, 8)
    np.testing.assert_allclose(scores, [0.4, 0.8, 1, 1, 1, 1, 1, 1])
    assert [list(session.clicks) for session in follower.sessions] == [[0], [0, 4], [0, 4, 8], [0, 4, 8]]
    assert follower.sessions[2].visited == [0, 1, 2, 3, 4, 4, 5, 6, 7, 8, 8, 9]
    assert all(session.closed for session in follower.sessions)


def test_online_what_is_good_enough_is_not_corrected(clip: np.ndarray) -> None:
    class Blurred(FollowedClip):
        def track(self, *, start: int) -> Iterator[Seen]:
            for frame in range(start, 10):
                yield Seen(frame, self.truth[frame] & rectangle(0, 0, 13 + frame, HEIGHT))

    class Model(Follower):
        def open_video(self, source: Sequence[Path]) -> FollowedClip:
            self.sessions.append(Blurred(self.truth, len(source)))
            return self.sessions[-1]

    follower = Model(clip, reach=0)
    scores = follow_online(follower, PATHS, clip, 8)
    assert [list(session.clicks) for session in follower.sessions] == [[0], [0]]
    cut = np.stack([frame & rectangle(0, 0, 13 + i, HEIGHT) for i, frame in enumerate(clip)])
    np.testing.assert_allclose(scores, [score_masklet(clip, cut).j_and_f] * 8)


def write_clip(folder: Path, masks: dict[int, np.ndarray], suffix: str = ".jpg") -> None:
    for name in ("images", "truth"):
        (folder / name / "walk").mkdir(parents=True)
    for index in range(len(next(iter(masks.values())))):
        ids = np.zeros((HEIGHT, WIDTH), np.uint8)
        for object_id, clip in masks.items():
            ids[clip[index]] = object_id
        Image.fromarray(ids).save(folder / "truth" / "walk" / f"{index:05d}.png")
        Image.new("RGB", (WIDTH, HEIGHT)).save(folder / "images" / "walk" / f"{index:05d}{suffix}")


def test_clips_begin_where_their_object_is_first_seen(tmp_path: Path, clip: np.ndarray) -> None:
    late = clip.copy()
    late[:4] = False
    write_clip(tmp_path, {3: late})
    objects = find_objects(tmp_path / "truth", tmp_path / "images")
    assert [(video.name, len(frames), object_id) for video, frames, object_id in objects] == [("walk", 10, 3)]
    follower, calls = Follower(clip[4:], reach=2), []
    [followed] = follow_objects(objects, follower, num_frames=2, advance=lambda: calls.append(1))
    assert (followed.video, followed.object_id, len(calls)) == ("walk", 3, 1)
    np.testing.assert_allclose(followed.offline, [0.5, 1.0])
    np.testing.assert_allclose(followed.online, [0.5, 1.0])


def test_what_a_clip_lacks_is_named(tmp_path: Path, clip: np.ndarray) -> None:
    write_clip(tmp_path, {1: clip})
    (tmp_path / "images/walk/00007.jpg").unlink()
    with pytest.raises(InputError, match=r"images.walk has no frame 00007"):
        find_objects(tmp_path / "truth", tmp_path / "images")
    with pytest.raises(InputError, match="holds no folders"):
        find_objects(tmp_path / "truth" / "walk", tmp_path / "images")


def test_annotations_of_another_size_are_refused(tmp_path: Path, clip: np.ndarray) -> None:
    write_clip(tmp_path, {1: clip})
    objects = find_objects(tmp_path / "truth", tmp_path / "images")
    with pytest.raises(InputError, match="walk: the frames are 16 x 24 pixels, and their annotations 32 x 24"):
        list(follow_objects(objects, Follower(clip[:, :, :16], reach=9)))
    Image.new("L", (5, 5)).save(tmp_path / "truth" / "walk" / "00004.png")
    with pytest.raises(InputError, match="its images differ in size"):
        list(follow_objects(objects, Follower(clip, reach=9)))


def test_videos_without_an_object_are_refused(tmp_path: Path) -> None:
    write_clip(tmp_path, {1: np.stack([NOTHING] * 2)})
    with pytest.raises(InputError, match="truth shows no object on any frame"):
        find_objects(tmp_path / "truth", tmp_path / "images")


def test_video_figures_are_means_over_objects() -> None:
    objects = [
        CorrectedObject(video="a", object_id=1, offline=np.array([0.2, 0.4]), online=np.array([0.2, 0.3])),
        CorrectedObject(video="a", object_id=2, offline=np.array([0.4, 0.8]), online=np.array([0.4, 0.5])),
    ]
    figures = video_figures(objects)
    assert (figures["objects"], figures["videos"]) == (2, 1)
    np.testing.assert_allclose(figures["offline_J&F"], [0.3, 0.6])
    np.testing.assert_allclose(figures["online_J&F"], [0.3, 0.4])


# --- examples -----------------------------------------------------------------------------------------------------


def test_a_miss_is_an_instance_without_a_match_and_a_wrong_detection_shows_something_else() -> None:
    iou = np.array(
        [
            [0.9, 0.6, 0.0, 0.0, 0.0],  # found, and once more
            [0.0, 0.0, 0.4, 0.0, 0.0],  # found poorly
            [0.0, 0.0, 0.0, 0.0, 0.1],  # not found
        ]
    )
    assert find_errors(iou) == DetectionErrors(missed=(1, 2), wrong=(3, 4))
    assert find_errors(np.zeros((0, 2))) == DetectionErrors(missed=(), wrong=(0, 1))
    assert find_errors(np.zeros((2, 0))) == DetectionErrors(missed=(0, 1), wrong=())


def test_either_kind_of_mistake_is_as_likely_however_many_there_are() -> None:
    many = DetectionErrors(missed=(4,), wrong=tuple(range(100)))
    drawn = [draw_error(many, np.random.default_rng(seed)) for seed in range(300)]
    assert 100 < sum(missed == 4 for missed, _ in drawn) < 200
    assert all((missed is None) != (wrong is None) for missed, wrong in drawn)
    assert draw_error(DetectionErrors(missed=(), wrong=()), np.random.default_rng(0)) == (None, None)


def test_by_hand_one_mistake_a_round_is_put_right() -> None:
    steps = list(mend(np.array([[0.9, 0.0], [0.0, 0.1], [0.0, 0.0]]), 5, np.random.default_rng(0)))
    mistakes = [find_errors(iou) for iou in steps]
    assert [len(each.missed) + len(each.wrong) for each in mistakes] == [3, 2, 1, 0]
    np.testing.assert_array_equal(np.sort(steps[-1].max(axis=1)), [0.9, 1.0, 1.0])


def test_a_pair_that_is_done_counts_in_every_later_round() -> None:
    curve = RoundScores.of(3)
    curve.add([np.zeros((1, 0)), np.ones((1, 1))])
    curve.add([np.zeros((0, 1)), np.zeros((0, 1)), np.zeros((0, 0))])
    figures = curve.figures()
    assert [len(scores) for scores in curve.scores] == [2] * 4
    np.testing.assert_allclose(figures["pmF1"], [0, 1, 1, 1], atol=1e-3)
    np.testing.assert_allclose(figures["IL_MCC"], [-1, 0, 1, 1], atol=1e-3)


COINS = [rectangle(2, 2, 8, 8), rectangle(12, 2, 18, 8), rectangle(22, 2, 28, 8)]
SHADOW = rectangle(12, 14, 18, 20)


def box_of(mask: np.ndarray) -> tuple[float, float, float, float]:
    rows, columns = np.nonzero(mask)
    return tuple(map(float, (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)))  # type: ignore[return-value]


@dataclass
class Learner(Segmenter, ImageSegmenter):
    """Finds the first coin and the shadow by the word; other coins when they are shown, no shadow when told so."""

    identity, size = "learner", (HEIGHT, WIDTH)
    asked: list[tuple] = field(default_factory=list)
    closed: int = 0

    def open(self, image: Path) -> "Learner":
        assert image.is_file()
        return self

    def close(self) -> None:
        self.closed += 1

    def find(self, phrases: str | None, *, boxes: Sequence, not_boxes: Sequence, threshold: float) -> "Learner":
        assert threshold == 0.5
        self.asked.append((phrases, tuple(boxes), tuple(not_boxes)))
        shown = [] if phrases is None else [COINS[0], *([] if box_of(SHADOW) in not_boxes else [SHADOW])]
        if phrases == "leaf":
            shown = [SHADOW]
        shown += [coin for coin in COINS if box_of(coin) in boxes and coin is not shown[0:1]]
        self.found = list({mask.tobytes(): mask for mask in shown}.values())
        self.phrases = (phrases or "visual",) * len(self.found)
        self.presence = {}
        self.scores = np.full(len(self.found), 0.9, np.float32)
        self.boxes = np.array([box_of(mask) for mask in self.found], np.float32).reshape(-1, 4)
        return self

    def __len__(self) -> int:
        return len(self.found)

    def mask(self, index: int, *, cut: float) -> np.ndarray:
        assert cut == 0.5
        return self.found[index]


QUERIES = [PhraseQuery(phrase="coin", object_index=(0, 1, 2)), PhraseQuery(phrase="leaf", object_index=())]


def test_each_round_shows_one_box_more_until_all_is_right(tmp_path: Path) -> None:
    labelled, learner, calls = Labelled(tmp_path / "a.png", [example(COINS, queries=QUERIES)]), Learner(), []
    curves = correct_concepts(labelled, learner, advance=lambda: calls.append(1))
    coin = [(boxes, wrong) for phrase, boxes, wrong in learner.asked if phrase == "coin"]
    assert [len(boxes) + len(wrong) for boxes, wrong in coin] == [0, 1, 2, 3]
    assert set(coin[-1][0]) == {box_of(COINS[1]), box_of(COINS[2])}
    assert coin[-1][1] == (box_of(SHADOW),)
    leaf = [(boxes, wrong) for phrase, boxes, wrong in learner.asked if phrase == "leaf"]
    assert leaf == [((), ()), ((), (box_of(SHADOW),))]  # the shadow stays, and is not shown twice
    alone = [boxes for phrase, boxes, _ in learner.asked if phrase is None]
    assert [len(boxes) for boxes in alone] == [1, 2, 3]
    figures = curves.figures()
    assert (figures["pairs"], figures["positive_pairs"], learner.closed, len(calls)) == (2, 1, 1, 1)
    np.testing.assert_allclose(figures["words"]["pmF1"][3:], 1, atol=1e-3)
    np.testing.assert_allclose(figures["examples"]["pmF1"], [1 / 2, 4 / 5, 1, 1, 1], atol=1e-3)
    np.testing.assert_allclose(figures["by_hand"]["cgF1"][3:], 1, atol=1e-3)
    assert figures["words"]["cgF1"][0] == figures["by_hand"]["cgF1"][0]


def test_rounds_are_counted(tmp_path: Path) -> None:
    labelled, learner = Labelled(tmp_path / "a.png", [example(COINS, queries=QUERIES)]), Learner()
    figures = correct_concepts(labelled, learner, rounds=1).figures()
    assert [len(boxes) + len(wrong) for phrase, boxes, wrong in learner.asked if phrase == "coin"] == [0, 1]
    assert [len(boxes) for phrase, boxes, _ in learner.asked if phrase is None] == [1]
    assert [len(figures[name]["pmF1"]) for name in ("words", "by_hand", "examples")] == [2, 2, 1]


def test_the_same_seed_gives_the_same_curves_and_another_other_ones(tmp_path: Path) -> None:
    def asked(seed: int) -> list[tuple]:
        learner = Learner()
        labelled = Labelled(tmp_path / "a.png", [example(COINS, queries=QUERIES)] * 3)
        correct_concepts(labelled, learner, seed=seed)
        return learner.asked

    assert asked(0) == asked(0) != asked(1)


def test_concepts_that_are_labelled_by_boxes_are_scored_by_boxes(tmp_path: Path) -> None:
    learner = Learner()
    labelled = Labelled(tmp_path / "a.png", [example(COINS, boxes=[0, 1, 2], queries=QUERIES[:1])])
    figures = correct_concepts(labelled, learner).figures()
    np.testing.assert_allclose(figures["words"]["pmF1"][3:], 1, atol=1e-3)


def test_no_pairs_are_no_curve() -> None:
    assert ExemplarCurves.of(2).figures()["pairs"] == 0
    assert Examples() == Examples(like=(), unlike=())


# --- the model ----------------------------------------------------------------------------------------------------


def test_the_model_can_be_clicked_on_followed_and_shown_examples(tmp_path: Path) -> None:
    from masklet.checkpoints.weights import Weights
    from masklet.inference.model import make_model
    from masklet.models.detector import Detector

    torch.manual_seed(0)
    weights = Weights(config=debug(), state=dict(Detector(debug()).state_dict()), origin="random")
    model = make_model(weights, torch.device("cpu"), torch.float32)
    labelled = Labelled(tmp_path / "a.png", [example(COINS, queries=QUERIES)])
    objects = list(click_images(labelled, model, num_clicks=2))
    assert [each.iou.shape for each in objects] == [(2,)] * 3
    figures = correct_concepts(labelled, model, rounds=1).figures()
    assert figures["pairs"] == 2
    write_clip(tmp_path, {1: np.stack([COINS[0]] * 3)}, suffix=".png")
    clips = find_objects(tmp_path / "truth", tmp_path / "images")
    [followed] = follow_objects(clips, model, num_frames=2)
    assert followed.offline.shape == followed.online.shape == (2,)
