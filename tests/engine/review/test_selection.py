"""Orders of questions are plug-ins; known questions tell how well a person answers, and change nothing."""

from pathlib import Path

import numpy as np
import pytest
from engine_world import ColourSegmenter, open_world, run_world, write_photos

from masklet.cli import main
from masklet.engine.curation.describe import Describe, flat_map, most_alike, vectors_of
from masklet.engine.records import Author, Fact
from masklet.engine.review.intake import take_in
from masklet.engine.review.people import hidden_items, hide_among, is_hidden, people_scores
from masklet.engine.review.queues import queue
from masklet.engine.review.selection import ORDERS, farthest_first, ordered
from masklet.engine.review.verdict_file import Decision, VerdictFile
from masklet.engine.runner import Runner
from masklet.engine.stages.stage import Project
from masklet.errors import InputError

DOUBTFUL = ColourSegmenter(score=0.5)


class MeanColour:
    """Describes an image by its mean colour."""

    identity = "mean colour"

    def describe(self, image, phrases):
        return image.mean((0, 1)), {phrase: 0.9 if phrase == "room" else 0.1 for phrase in phrases}


@pytest.fixture
def doubtful(tmp_path: Path) -> Project:
    project = open_world(tmp_path / "project", write_photos(tmp_path / "photos", 12))
    run_world(project, DOUBTFUL)
    return project


def describe(project: Project) -> None:
    project.view.ledger.add([Fact(table="run", values={"run_id": "d", "started_at": 0, "code": "", "config": ""})])
    Runner(project, [Describe(describer=MeanColour())], "d").run()  # type: ignore[arg-type]


def file_of(items, labels) -> VerdictFile:
    said = [
        Decision(pair=item.pair_id, maskset=item.maskset_id, number=item.number, label=label, seconds=2.0)
        for item, label in zip(items, labels, strict=True)
    ]
    return VerdictFile(format="masklet-verdicts", version=1, task="masks", answers=said)


@pytest.mark.parametrize("order", ORDERS)
def test_every_order_asks_everything_and_is_the_same_each_time(doubtful: Project, order: str) -> None:
    describe(doubtful)
    items = queue(doubtful, "masks")
    first = ordered(doubtful, items, order)
    assert sorted(item.pair_id for item in first) == sorted(item.pair_id for item in items)
    assert ordered(doubtful, list(reversed(items)), order)[0] in items
    assert ordered(doubtful, items, order) == first


def test_an_order_that_needs_vectors_says_so(doubtful: Project) -> None:
    with pytest.raises(InputError, match="engine describe"):
        ordered(doubtful, queue(doubtful, "masks"), "coreset")
    with pytest.raises(InputError, match="choose from"):
        ordered(doubtful, [], "lucky")


def test_the_core_set_takes_from_all_over() -> None:
    rng = np.random.default_rng(0)
    groups = np.concatenate([rng.normal(centre, 0.05, (30, 2)) for centre in ((0, 0), (9, 0), (0, 9), (9, 9))])
    chosen = farthest_first(groups)
    assert sorted(chosen) == list(range(120))
    assert {place // 30 for place in chosen[1:5]} | {chosen[0] // 30} == {0, 1, 2, 3}


def test_like_images_are_found_and_mapped_near_each_other(doubtful: Project) -> None:
    describe(doubtful)
    vectors = vectors_of(doubtful)
    assert all(abs(float(np.linalg.norm(vector)) - 1) < 0.01 for vector in vectors.values())
    one = sorted(vectors)[0]
    found = most_alike(doubtful, [one], 5)
    assert len(found) == 5
    assert [score for _, score in found] == sorted((score for _, score in found), reverse=True)
    places = flat_map(vectors)
    assert all(0 <= value <= 1 for place in places.values() for value in place)

    def far(a: str, b: str) -> float:
        return float(np.hypot(*(np.array(places[a]) - places[b])))

    worst = min(vectors, key=lambda each: float(vectors[each] @ vectors[one]))
    assert far(one, found[0][0]) < far(one, worst)
    with pytest.raises(InputError, match="no vector"):
        most_alike(doubtful, ["0" * 64], 1)


def test_known_questions_tell_how_often_a_person_is_right(doubtful: Project) -> None:
    items = queue(doubtful, "masks")
    take_in(doubtful, file_of(items, ["accept"] * len(items)), "Ada")
    known = hidden_items(doubtful, 1000)
    assert known
    assert all(is_hidden(f"{item.maskset_id}#{item.number}") for item in known)
    before = doubtful.view.counts(), doubtful.view.ledger.count("verdict")
    labels = ["accept" if place % 2 else "reject" for place in range(len(known))]
    assert take_in(doubtful, file_of(known, labels), "Grace")["known before"] == len(known)
    assert (doubtful.view.counts(), doubtful.view.ledger.count("verdict")) == before
    scores = {score.name: score for score in people_scores(doubtful.view)}
    assert (scores["Grace"].known, scores["Grace"].right) == (len(known), len(known) // 2)
    assert scores["Ada"].known == 0
    assert scores["Ada"].seconds == 2.0


def test_nobody_is_checked_by_their_own_answers(doubtful: Project) -> None:
    items = queue(doubtful, "masks")
    take_in(doubtful, file_of(items, ["accept"] * len(items)), "Ada")
    known = hidden_items(doubtful, 1000)
    assert take_in(doubtful, file_of(known, ["reject"] * len(known)), "Ada")["known before"] == 0
    assert {score.known for score in people_scores(doubtful.view)} == {0}


def test_a_person_cannot_tell_known_questions_from_open_ones(doubtful: Project) -> None:
    items = queue(doubtful, "masks")
    first, rest = items[:10], items[10:]
    by_pair = {item.pair_id for item in first}
    take_in(doubtful, file_of(first, ["accept"] * 10), "Ada")
    known = [item for item in hidden_items(doubtful, 1000) if item.pair_id in by_pair] or first[:2]
    mixed = hide_among(rest, known)
    assert len(mixed) == len(rest) + len(known)
    assert {type(item) for item in mixed} == {type(rest[0])}
    assert {item.task for item in mixed} == {"masks"}


def test_people_see_their_figures(doubtful: Project, tmp_path: Path, capsys) -> None:
    from masklet.workflows.engine.folder import ProjectSettings, write_settings

    items = queue(doubtful, "masks")
    take_in(doubtful, file_of(items, ["accept"] * len(items)), "Ada")
    doubtful.view.ledger.close()
    (tmp_path / "project" / "project.json").write_text("{}")
    write_settings(tmp_path / "project", ProjectSettings(photos=str(tmp_path / "photos")))
    assert main(["engine", "people", str(tmp_path / "project")]) == 0
    assert f"Ada: {len(items)} answers, 2.0 s each" in capsys.readouterr().out


def test_authors_are_apart_by_kind() -> None:
    assert Author(kind="person", name="x").actor_id != Author(kind="model", name="x").actor_id
