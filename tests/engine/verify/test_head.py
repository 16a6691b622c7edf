"""The lite head learns what people said, keeps its bound, and makes the labels better than scores alone do."""

from pathlib import Path

import numpy as np
import pytest
from engine_features import ColourFeatures
from engine_world import ColourSegmenter, open_world, run_world, true_masks, write_photos
from hypothesis import given
from hypothesis import strategies as st

from masklet.engine.review.intake import take_in
from masklet.engine.review.queues import queue
from masklet.engine.review.verdict_file import Decision, VerdictFile
from masklet.engine.stages.stage import Project
from masklet.engine.verify.bands import expected_calibration_error
from masklet.engine.verify.choices import MaskItem
from masklet.engine.verify.head import fit_head, isotonic, load_verifier, save_heads
from masklet.engine.verify.lessons import lessons_of
from masklet.engine.verify.oracle import is_complete, is_right
from masklet.errors import InputError
from masklet.media.images import read_image
from masklet.ops.masks import mask_iou, rle_decode


def drawn(count: int, seed: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(count, 5))
    truths = rng.random(count) < 1 / (1 + np.exp(-3 * features[:, 0] - 2 * features[:, 1] * features[:, 2]))
    return features, truths, [str(number) for number in range(count)]


def test_probabilities_are_calibrated_and_bands_keep_their_bound_on_new_questions() -> None:
    head = fit_head(*drawn(4000, 0), most_false=0.1)
    features, truths, _ = drawn(8000, 1)
    probabilities = head.probabilities(features)
    assert expected_calibration_error(probabilities.tolist(), truths.tolist()) < 0.05
    sides = np.array([head.overall.side(value) for value in probabilities.tolist()], object)
    assert (~truths[sides == True]).mean() < 0.1  # noqa: E712 - None is a side, too
    assert truths[sides == False].mean() < 0.1  # noqa: E712
    assert (sides == None).mean() < 0.6  # noqa: E711


def test_a_field_where_the_head_is_wrong_has_a_curve_and_bands_of_its_own(tmp_path: Path) -> None:
    """Among animals scores mean what they say; among tools every third answer is wrong, whatever the score."""
    features, truths, groups = drawn(4000, 0)
    rng = np.random.default_rng(2)
    fields = np.where(rng.random(4000) < 0.2, "tools and appliances", "animals")
    truths = np.where((fields != "animals") & (rng.random(4000) < 0.33), ~truths, truths)
    head = fit_head(features, truths, groups, [*fields.tolist()], most_false=0.1)
    assert set(head.fields) == {"animals", "tools and appliances"}
    fresh, right, _ = drawn(8000, 1)
    wrong_third = np.where(rng.random(8000) < 0.33, ~right, right)

    def taken_wrongly(name: str) -> tuple[int, float]:
        calibration = head.calibration(name)
        sides = [calibration.side(value) for value in calibration.probabilities(head.scores(fresh)).tolist()]
        taken = np.array([side is True for side in sides])
        return int(taken.sum()), float((~wrong_third[taken]).mean()) if taken.any() else 0.0

    assert taken_wrongly("unheard of")[1] > 0.2  # what holds over all fields does not hold in this one
    assert taken_wrongly("tools and appliances")[1] < 0.15
    assert (head.calibration("animals").side(0.97), head.calibration("tools and appliances").side(0.97)) == (True, None)
    save_heads(tmp_path / "v.npz", {"masks": head}, ColourFeatures.identity)
    again = load_verifier(tmp_path / "v.npz", ColourFeatures).masks
    assert again is not None
    assert set(again.fields) == set(head.fields)
    assert again.calibration("animals").bands.tolist() == head.calibration("animals").bands.tolist()


def test_a_field_with_few_answers_is_calibrated_with_all_others() -> None:
    features, truths, groups = drawn(400, 0)
    fields = ["animals"] * 350 + ["tools and appliances"] * 50
    assert set(fit_head(features, truths, groups, fields).fields) == {"animals"}


@given(st.lists(st.tuples(st.floats(-5, 5), st.booleans()), min_size=1, max_size=40))
def test_the_curve_rises_and_keeps_the_mean(values: list[tuple[float, bool]]) -> None:
    scores, truths = np.array([score for score, _ in values]), np.array([truth for _, truth in values])
    x, y = isotonic(scores, truths)
    assert (np.diff(x) >= 0).all()
    assert (np.diff(y) >= 0).all()
    assert ((y >= 0) & (y <= 1)).all()
    assert y.min() <= truths.mean() <= y.max()


def test_the_curve_of_a_worked_example() -> None:
    x, y = isotonic(np.array([1.0, 2.0, 3.0, 4.0]), np.array([False, True, False, True]))
    assert x.tolist() == [1, 1, 2, 3, 4, 4]
    assert y.tolist() == [0, 0, 0.5, 0.5, 1, 1]


def test_too_few_answers_are_refused() -> None:
    features, truths, groups = drawn(30, 0)
    with pytest.raises(InputError, match="too few"):
        fit_head(features, truths, groups)
    features, _, groups = drawn(400, 0)
    with pytest.raises(InputError, match="too few"):
        fit_head(features, np.ones(400, bool), groups)


def answered(project: Project) -> None:
    """A person who is always right answers every mask, then every pair."""
    for task in ("masks", "exhaustivity"):
        answers = []
        for item in queue(project, task):
            image = project.picture(item.media_id)
            if item.number is not None:
                question = MaskItem(
                    read=lambda image=image: image, phrase=item.phrase, mask=item.masks[0], presence=1.0
                )
                yes = is_right(question, true_masks)
            else:
                yes = is_complete(image, item.phrase, item.masks, true_masks)
            label = "accept" if yes else "reject"
            answers.append(Decision(pair=item.pair_id, maskset=item.maskset_id, number=item.number, label=label))
        take_in(project, VerdictFile(format="masklet-verdicts", version=1, task=task, answers=answers), "Ada")  # type: ignore[arg-type]


def wrong_share(project: Project) -> tuple[float, int]:
    """The share of final pairs whose masks are not exactly the true things, and how many final pairs there are."""
    wrong = total = 0
    for row in project.view.annotations():
        image = read_image(project.originals / project.view.one_media(row["media_id"])["uri"])
        maskset = project.view.maskset_by_id(row["maskset_id"])
        assert maskset is not None
        masks = project.view.masks(maskset)
        kept = [rle_decode(masks[n].counts, *masks[n].size) for n in project.view.accepted(row["pair_id"], maskset)]
        truth = true_masks(image, row["text"])
        fits = len(kept) == len(truth) and all(mask_iou(mask[None], np.stack(truth)).max() > 0.75 for mask in kept)
        wrong += not fits
        total += 1
    return wrong / total, total


@pytest.mark.slow
def test_labels_verified_by_a_trained_head_are_better_than_by_scores(tmp_path: Path) -> None:
    taught = open_world(tmp_path / "taught", write_photos(tmp_path / "first", 60))
    noisy = ColourSegmenter(drop=0.2, bad=0.2, score=0.5)
    run_world(taught, noisy)
    answered(taught)
    run_world(taught, noisy, verifier=AskPeople(), run_id="asked")
    answered(taught)
    heads = {task: lessons.fit(0.1) for task, lessons in lessons_of(taught, ColourFeatures()).items()}
    path = tmp_path / "verifier.npz"
    digest = save_heads(path, heads, ColourFeatures.identity)
    head = load_verifier(path, ColourFeatures)
    assert head.identity == digest

    photos = write_photos(tmp_path / "second", 40, seed=1)
    confident = ColourSegmenter(drop=0.2, bad=0.2, score=0.9)
    by_score, by_head = (open_world(tmp_path / name, photos) for name in ("by score", "by head"))
    run_world(by_score, confident)
    run_world(by_head, confident, verifier=head)
    before, _ = wrong_share(by_score)
    after, count = wrong_share(by_head)
    assert before > 0.2
    assert after < 0.1
    assert count > 20
    assert {row["tier"] for row in by_head.view.annotations()} == {"HQ-ai"}


class AskPeople:
    """Leaves every question to people."""

    from masklet.engine.records import Author

    actor, identity = Author(kind="rule", name="ask"), "ask"

    def judge_masks(self, items):
        from masklet.engine.verify.choices import Choice

        return [Choice(label="unsure", probabilities={}) for _ in items]

    judge_exhaustivity = judge_masks


def test_a_file_of_others_is_not_trusted(tmp_path: Path) -> None:
    path = tmp_path / "verifier.npz"
    with pytest.raises(InputError, match="no verifier"):
        load_verifier(path, ColourFeatures)
    np.savez(path, maker=np.array({"a": 1}, object))
    with pytest.raises(InputError, match="no verifier"):
        load_verifier(path, ColourFeatures)
    save_heads(path, {}, "another model")
    with pytest.raises(InputError, match="another model"):
        load_verifier(path, ColourFeatures)
