"""Hard negatives: look-alikes count, what is true does not, and none is final without a verdict."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from engine_world import COLOURS, ColourSegmenter, Found, open_world, run_world, stages, true_masks, write_photos
from hypothesis import given
from hypothesis import strategies as st

from masklet.engine.ontology.concepts import Noun, Ontology, shipped
from masklet.engine.records import Fact
from masklet.engine.runner import Runner
from masklet.engine.stages.negatives import HardNegatives, candidates_of, overlap_share, swapped
from masklet.engine.stages.phrases import ListedPhrases
from masklet.engine.stages.stage import Project
from masklet.engine.states import State
from masklet.engine.verify.oracle import NoisyOracle
from masklet.media.images import read_image


def noun(name: str, parent: str = "thing") -> Noun:
    return Noun(concept_id=name, names=(name,), parents=(parent,) if parent else (), count=1, category="own")


NAMES = ("square", "tile", "block", "window")
SHAPES = Ontology(
    concepts={"thing": noun("thing", ""), **{name: noun(name) for name in NAMES}},
    meanings={name: name for name in ("thing", *NAMES)},
)


class Fooled(ColourSegmenter):
    """Takes red squares for tiles, as models do, and green ones for blocks, rightly."""

    names: ClassVar = {"tile": "red square", "red tile": "red square", "block": "green square"}

    def open(self, image):
        session = super().open(image)
        find = session.find

        def fooled(phrases, **options):
            each = [find([self.names.get(phrase, phrase)], **options) for phrase in phrases]
            return Found(
                presence={phrase: max(one.presence.values()) for phrase, one in zip(phrases, each, strict=True)},
                phrases=[phrase for phrase, one in zip(phrases, each, strict=True) for _ in one.phrases],
                scores=np.concatenate([one.scores for one in each]),
                boxes=np.concatenate([one.boxes for one in each]),
                all_masks=[mask for one in each for mask in one.all_masks],
            )

        session.find = fooled
        return session


def truth(image: np.ndarray, phrase: str) -> list[np.ndarray]:
    """Blocks are green squares in this world; tiles and windows do not exist."""
    return true_masks(image, "green square" if phrase == "block" else phrase)


class Teller:
    """Takes red squares for tiles and roofs, and blue ones, which may not be here, for lakes."""

    identity = "teller"

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def tell_lookalikes(self, image: np.ndarray, phrases: Sequence[str]) -> Sequence[tuple[str, str]]:
        assert image.ndim == 3
        self.asked.append(list(phrases))
        return [("red square", "a roof"), ("red square", "red tile"), ("blue square", "lake")]


def world(folder: Path, per_image: int = 30, teller: Teller | None = None) -> Project:
    project = open_world(folder / "project", write_photos(folder / "photos", 12))
    segmenter, oracle = Fooled(), NoisyOracle(truth=truth, sensitivity=1.0, specificity=1.0)
    made = stages(project, segmenter, oracle)
    made = [ListedPhrases(phrases=("red square",)) if stage.name == "phrases" else stage for stage in made]
    made.insert(-1, HardNegatives(segmenter=segmenter, ontology=SHAPES, per_image=per_image, teller=teller))
    project.view.ledger.add([Fact(table="run", values={"run_id": "r", "started_at": 0, "code": "", "config": ""})])
    Runner(project, made, "r").run()
    return project


def test_planted_true_positives_do_not_become_negatives(tmp_path: Path) -> None:
    project = world(tmp_path)
    negatives = [pair for pair in project.view.pairs() if pair["parent_pair_id"]]
    assert {pair["origin"] for pair in negatives} == {"sibling", "attribute swap"}
    accepted = [pair for pair in negatives if pair["state"] == State.FINAL_NEGATIVE]
    wrong = [pair for pair in accepted if truth(image_of(project, pair), pair["text"])]
    assert accepted
    assert len(wrong) <= 0.01 * len(accepted)
    discovered = [pair for pair in negatives if pair["text"] == "block" and truth(image_of(project, pair), "block")]
    assert discovered
    assert {pair["state"] for pair in discovered} == {State.FINAL_POSITIVE}
    overturned = [pair for pair in negatives if pair["state"] == State.FINAL_POSITIVE]
    hard = [pair for pair in accepted if project.view.maskset(pair["pair_id"])["num_masks"]]
    figures = project.view.negative_figures()
    assert figures == {
        "made": len(negatives),
        "final": len(accepted),
        "hard": len(hard),
        "overturned": len(overturned),
    }


def image_of(project: Project, pair: dict) -> np.ndarray:
    return read_image(project.originals / project.view.one_media(pair["media_id"])["uri"])


def test_look_alikes_are_kept_with_the_reason_on_record(tmp_path: Path) -> None:
    project = world(tmp_path)
    tiles = [pair for pair in project.view.pairs(State.FINAL_NEGATIVE) if pair["text"] == "tile"]
    assert tiles
    for pair in tiles:
        verdicts = project.view.verdicts(pair["pair_id"])
        assert {row["label"] for row in verdicts if row["task"] == "mask"} == {"reject"}
        assert [row["label"] for row in verdicts if row["task"] == "exhaustivity"] == ["accept"]


def test_told_lookalikes_pass_the_same_test(tmp_path: Path) -> None:
    teller = Teller()
    project = world(tmp_path, teller=teller)
    told = [pair for pair in project.view.pairs() if pair["origin"] == "told look-alike"]
    shown = {
        pair["media_id"]
        for pair in project.view.pairs()
        if pair["parent_pair_id"] is None and pair["state"] == State.FINAL_POSITIVE
    }
    assert {pair["media_id"] for pair in told if pair["text"] == "red tile"} == shown
    assert {pair["text"] for pair in told} <= {"roof", "red tile"}
    assert {pair["state"] for pair in told} == {State.FINAL_NEGATIVE}
    # A photo is asked about again when a negative turned out to be there; otherwise once
    assert [asked for asked in teller.asked if asked == ["red square"]] == [["red square"]] * len(shown)


def test_no_more_are_made_than_wanted(tmp_path: Path) -> None:
    project = world(tmp_path, per_image=1)
    made = [pair["media_id"] for pair in project.view.pairs() if pair["parent_pair_id"]]
    assert made
    assert len(made) == len(set(made))


def test_true_names_are_no_candidates() -> None:
    positives = [{"text": "red square", "pair_id": "p"}]
    names = {each.text for each in candidates_of(positives, ["red square", "window"], SHAPES)}
    assert names & {"tile", "block"} == {"tile", "block"}
    assert not names & {"square", "thing", "window", "red square"}
    assert "green square" in names
    assert set(COLOURS) - {"red square"} <= {*names, *swapped("red square")}


def test_what_any_kind_may_be_is_no_candidate() -> None:
    names = {each.text for each in candidates_of([{"text": "dog", "pair_id": "p"}], ["dog"], shipped())}
    assert names
    assert "female" in {
        shipped().concepts[each].names[0] for each in shipped().relatives(shipped().find("dog").concept_id)
    }
    assert not names & {"female", "male", "young"}


def test_swaps_change_one_attribute_and_never_the_noun() -> None:
    assert "small blue orange" in swapped("small red orange")
    assert all(text.endswith("orange") for text in swapped("small red orange"))
    assert swapped("orange") == []


@given(st.integers(0, 2**16 - 1), st.integers(0, 2**16 - 1))
def test_overlap_is_a_share_of_what_was_found(finds: int, masks: int) -> None:
    left, right = (np.array([[bool(bits >> place & 1) for place in range(16)]]) for bits in (finds, masks))
    share = overlap_share(left, right)
    assert 0 <= share <= 1
    assert share == (bin(finds & masks).count("1") / bin(finds).count("1") if finds else 0.0)


def test_a_plain_run_makes_none(tmp_path: Path) -> None:
    project = open_world(tmp_path / "project", write_photos(tmp_path / "photos", 2))
    run_world(project)
    assert not any(pair["parent_pair_id"] for pair in project.view.pairs())
