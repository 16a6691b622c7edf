"""What a run has forgotten: which questions are asked, how answers are summed up, and what is called lost."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from masklet.data.schema import Example, PhraseQuery
from masklet.eval.analysis.forgetting import (
    ABSENT_QUESTIONS,
    FIRST_SCENE,
    MOST_IMAGES,
    Forgetting,
    Questions,
    Standing,
    ask_questions,
    compare,
    everyday_questions,
    image_questions,
    scene_questions,
    spread,
    standings,
)
from masklet.protocols import ImageSegmenter, Segmenter

SIDE = 16


def example(*there: str, absent: Sequence[str] = (), value: int = 0) -> Example:
    """A picture with a square for each phrase that it shows."""
    masks = np.zeros((len(there), SIDE, SIDE), bool)
    masks[:, 2:10, 2:10] = True
    queries = [PhraseQuery(phrase=phrase, object_index=(row,)) for row, phrase in enumerate(there)]
    return Example(
        image=np.full((SIDE, SIDE, 3), value, np.uint8),
        boxes_xyxy=np.tile(np.array([2, 2, 10, 10], np.float32), (len(there), 1)),
        masks=masks,
        mask_valid=np.ones(len(there), bool),
        queries=(*queries, *(PhraseQuery(phrase=phrase, object_index=()) for phrase in absent)),
        source="test",
    )


@dataclass
class Found:
    phrases: Sequence[str]
    scores: np.ndarray
    boxes: np.ndarray
    presence: dict[str, float]
    shown: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)

    def mask(self, index: int, *, cut: float) -> np.ndarray:
        assert (index < len(self), cut) == (True, 0.5)
        return self.shown


@dataclass
class Model(Segmenter, ImageSegmenter):
    """Finds the square for the phrases that it believes in; `asked` are the phrases of each picture."""

    identity: str = ""
    believes: Sequence[str] | None = None  # None believes everything
    asked: list[list[str]] = field(default_factory=list)

    def open(self, image: Path | np.ndarray) -> "Model":
        assert isinstance(image, np.ndarray)
        return self

    @property
    def size(self) -> tuple[int, int]:
        return SIDE, SIDE

    def find(self, phrases: list[str], *, threshold: float, assume_present: bool = False) -> Found:
        assert threshold < 0.5
        assert not assume_present
        self.asked.append(phrases)
        found = [phrase for phrase in phrases if self.believes is None or phrase in self.believes]
        mask = np.zeros((SIDE, SIDE), bool)
        mask[2:10, 2:10] = True
        return Found(
            presence={phrase: 0.9 if phrase in found else 0.1 for phrase in phrases},
            phrases=found,
            scores=np.full(len(found), 0.8, np.float32),
            boxes=np.tile(np.array([2, 2, 10, 10], np.float32), (len(found), 1)),
            shown=mask,
        )

    def close(self) -> None:
        pass


def questions(pictures: Sequence[Example], name: str = "own") -> Questions:
    return Questions(
        name=name, title=name.title(), count=len(pictures), image=lambda index: (f"{index}.png", pictures[index])
    )


def test_a_users_pictures_are_asked_for_everyday_things_that_no_label_speaks_of():
    own = questions([example("fire truck", absent=["giraffe"], value=value) for value in range(12)])
    asked = everyday_questions(own)
    assert not asked.sure
    phrases = [query.phrase for index in range(12) for query in asked.image(index)[1].queries]
    assert len(phrases) == ABSENT_QUESTIONS
    assert not {"fire truck", "giraffe", "school bus"} & set(phrases)
    assert len(set(phrases)) > 50
    assert all(not query.object_index for index in range(12) for query in asked.image(index)[1].queries)
    assert asked.image(3)[1].queries == everyday_questions(own).image(3)[1].queries
    assert asked.image(3)[1].queries != asked.image(4)[1].queries


def test_scenes_are_those_that_no_training_draws():
    scenes = scene_questions()
    (name, first), (_, second) = scenes.image(0), scenes.image(1)
    assert FIRST_SCENE >= 2**31  # `GeneratedSource` draws below
    assert name == "scene 0"
    assert np.array_equal(first.image, scene_questions().image(0)[1].image)
    assert not np.array_equal(first.image, second.image)
    assert {bool(query.object_index) for query in first.queries} == {True, False}


def test_pictures_are_taken_at_even_distances():
    assert spread(3) == [0, 1, 2]
    places = spread(1000)
    assert len(places) == MOST_IMAGES
    assert {after - before for before, after in pairwise(places)} == {1000 // MOST_IMAGES}


def test_phrases_that_are_not_labelled_in_full_are_not_asked():
    whole = example("mug")
    unsure = PhraseQuery(phrase="cup", object_index=(1,), exhaustive=False)
    part = replace(example("mug", "cup"), queries=(whole.queries[0], unsure))

    class Source:
        def __len__(self) -> int:
            return 5

        def name(self, index: int) -> str:
            return f"{index}.png"

        def example(self, index: int, rng: np.random.Generator) -> Example:
            assert index == 4
            assert rng is not None
            return part

        def sample(self, rng: np.random.Generator) -> Example:
            return self.example(4, rng)

    found = image_questions("own", "Own", Source(), [4])
    name, asked = found.image(0)
    assert (name, [query.phrase for query in asked.queries]) == ("4.png", ["mug"])


def test_standing_counts_rejections_and_figures(tmp_path):
    pictures = [example("mug", absent=["cat", "dog"], value=value) for value in range(4)]
    model = Model("half", believes=["mug", "cat"])
    found = Standing.of(ask_questions(questions(pictures), model, tmp_path))
    assert (found.pairs, found.absent, found.rejected, found.rejections) == (12, 8, 4, 50.0)
    assert found.false_alarms == {"cat": 4}
    assert found.low is not None
    assert found.high is not None
    assert found.low < 50 < found.high
    assert found.low == pytest.approx(100 - found.high)
    assert found.pmF1 == pytest.approx(100, abs=0.1)
    assert pytest.approx(0.5) == found.IL_MCC
    assert found.cgF1 == pytest.approx(50, abs=0.1)


def test_figures_that_nothing_gives_are_none(tmp_path):
    only_absent = Standing.of(ask_questions(questions([example(absent=["cat"])]), Model("yes"), tmp_path))
    assert (only_absent.rejections, only_absent.pmF1, only_absent.cgF1, only_absent.IL_MCC) == (0.0, None, None, None)
    only_there = Standing.of(ask_questions(questions([example("mug")]), Model("yes"), tmp_path))
    assert (only_there.rejections, only_there.low, only_there.cgF1) == (None, None, None)
    assert only_there.pmF1 == pytest.approx(100, abs=0.1)


def forgetting(pictures: Sequence[Example], before: Model, after: Model, cache: Path) -> Forgetting:
    sets = [questions(pictures)]
    return compare(sets, standings(sets, before, cache), standings(sets, after, cache))


def test_a_model_that_says_yes_to_everything_is_told(tmp_path):
    pictures = [example("mug", absent=["cat", "dog"], value=value) for value in range(20)]
    found = forgetting(pictures, Model("good", believes=["mug"]), Model("yes"), tmp_path)
    assert found.troubles == {"rejections"}
    assert found.changes[0].lost_rejections == 100
    assert "100.0 % of absent phrases were rejected before, 0.0 % are now (own)" in found.verdict
    assert found.to_json()["lost"] == ["rejections"]
    back = forgetting(pictures, Model("yes"), Model("good", believes=["mug"]), tmp_path)
    assert not back.troubles
    assert "nothing was forgotten" in back.verdict


def test_a_base_that_hardly_said_no_is_told(tmp_path):
    pictures = [example("mug", absent=["cat", "dog"], value=value) for value in range(3)]
    found = forgetting(pictures, Model("yes"), Model("as ever"), tmp_path)
    assert not found.troubles
    assert found.verdict.startswith("nothing more was forgotten, but the model hardly says no: 0.0 % of absent")


def test_a_model_that_finds_less_is_told(tmp_path):
    pictures = [example("mug", "cup", absent=["cat"], value=value) for value in range(4)]
    found = forgetting(pictures, Model("good", believes=["mug", "cup"]), Model("poor", believes=["mug"]), tmp_path)
    assert found.troubles == {"quality"}
    assert "pmF1 100.0 before, 66.7 now" in found.verdict


def test_what_may_be_luck_is_not_called_lost(tmp_path):
    """One of four absent phrases is now seen: 25 points, but of four questions."""
    pictures = [example("mug", absent=["cat", "dog", "car", "boat"])]
    found = forgetting(pictures, Model("a", believes=["mug"]), Model("b", believes=["mug", "cat"]), tmp_path)
    assert found.changes[0].after.rejections == 75
    assert not found.troubles
    many = [example("mug", absent=["cat", "dog", "car", "boat"], value=value) for value in range(20)]
    again = forgetting(many, Model("a", believes=["mug"]), Model("b", believes=["mug", "cat"]), tmp_path)
    assert again.changes[0].after.rejections == 75
    assert again.troubles == {"rejections"}


def test_small_but_certain_losses_are_not_called_lost(tmp_path):
    absent = [f"thing {number}" for number in range(25)]
    many = [example("mug", absent=absent, value=value) for value in range(10)]
    found = forgetting(many, Model("a", believes=["mug"]), Model("b", believes=["mug", "thing 3"]), tmp_path)
    assert found.changes[0].after.rejections == 96
    assert not found.troubles


def test_a_base_is_asked_once(tmp_path):
    pictures = [example("mug", absent=["cat"], value=value) for value in range(2)]
    first, second = Model("base"), Model("base")
    assert standings([questions(pictures)], first, tmp_path) == standings([questions(pictures)], second, tmp_path)
    assert (len(first.asked), len(second.asked)) == (2, 0)
