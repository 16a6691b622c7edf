"""A verifier that audits find out is left out of the fields where it lets too much pass, and of no others."""

from pathlib import Path

from engine_people import answered
from engine_world import ColourSegmenter, open_world, run_world, true_masks, write_photos

from masklet.engine.ontology.concepts import shipped
from masklet.engine.review.intake import take_in
from masklet.engine.review.queues import unseen
from masklet.engine.review.verdict_file import VerdictFile
from masklet.engine.stages.stage import Project
from masklet.engine.states import State
from masklet.engine.verify.choices import UNSURE, ExhaustivityItem
from masklet.engine.verify.oracle import NoisyOracle
from masklet.engine.verify.watch import LEAST_AUDITS, Watched, audits, fallen_fields, watched

NOISY = ColourSegmenter(drop=0.4)
SQUARES = "other products"  # what the ontology calls squares


def audited(folder: Path, verifier: NoisyOracle, count: int) -> Project:
    """A project of which `count` labels were looked at by somebody who is never wrong."""
    project = open_world(folder / "project", write_photos(folder / "photos", 16))
    run_world(project, NOISY, verifier=verifier)
    said = [answered(project, item, true_masks) for item in unseen(project)[:count]]
    take_in(project, VerdictFile(format="masklet-verdicts", version=1, task="audit", answers=said), "Ada")
    return project


def test_a_verifier_that_lets_too_much_pass_is_asked_no_more(tmp_path: Path) -> None:
    careless = NoisyOracle(truth=true_masks, sensitivity=1.0, specificity=0.0)
    project = audited(tmp_path, careless, 20)
    count, wrong = audits(project.view, careless.actor, shipped())[SQUARES]
    assert count == 20
    assert wrong == project.view.counts()[State.TO_CORRECT] > 2
    assert fallen_fields(project.view, careless.actor, shipped()) == [SQUARES]
    judge = watched(project.view, careless, shipped())
    assert judge.actor == careless.actor
    assert judge.identity != careless.identity

    write_photos(tmp_path / "photos", 18)
    before = project.view.counts()
    run_world(project, NOISY, verifier=judge, run_id="second")
    after = project.view.counts()
    to_people = sum(after.get(state, 0) for state in (State.HUMAN_MASKS, State.HUMAN_PENDING))
    assert to_people == sum(after.values()) - sum(before.values()) == 6


def test_other_fields_are_its_own_still(tmp_path: Path) -> None:
    careless = NoisyOracle(truth=true_masks, sensitivity=1.0, specificity=0.0)
    judge = Watched(verifier=careless, fallen=["animals"], ontology=shipped())
    image = open_world(tmp_path / "p", write_photos(tmp_path / "photos", 1)).originals / "0000.png"

    def item(phrase: str) -> ExhaustivityItem:
        from masklet.media.images import read_image

        return ExhaustivityItem(read=lambda: read_image(image), phrase=phrase, masks=[], presence=0.0)

    said = judge.judge_exhaustivity([item("red square"), item("dog"), item("blue square"), item("tabby cat")])
    assert [choice.label == UNSURE for choice in said] == [False, True, False, True]


def test_a_verifier_that_is_right_or_little_known_stays(tmp_path: Path) -> None:
    right = NoisyOracle(truth=true_masks, sensitivity=1.0, specificity=1.0)
    project = audited(tmp_path / "right", right, 20)
    assert watched(project.view, right, shipped()) is right
    careless = NoisyOracle(truth=true_masks, sensitivity=1.0, specificity=0.0)
    project = audited(tmp_path / "few", careless, LEAST_AUDITS - 1)
    assert audits(project.view, careless.actor, shipped())[SQUARES][0] == LEAST_AUDITS - 1
    assert watched(project.view, careless, shipped()) is careless
