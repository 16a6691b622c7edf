"""Verification: each mask on its own, then whether any instance is left out. Doubtful ones go to people."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from masklet.engine.digests import digest_of
from masklet.engine.records import Author, Fact, Move, Outcome, Unit
from masklet.engine.stages.stage import Project
from masklet.engine.states import Cause, State
from masklet.engine.verify.choices import (
    CAUSE_OF_ANSWER,
    UNSURE,
    Choice,
    ExhaustivityItem,
    MaskItem,
    Verifier,
)
from masklet.engine.view import Row

GUIDELINE = "1"
NO_SLOT = "-"


@dataclass(frozen=True, kw_only=True)
class VerifyMasks:
    """A unit a pair with proposed masks: a verdict for each of them."""

    verifier: Verifier
    name: str = "verify-masks"
    version: int = 1

    @property
    def actor(self) -> Author:
        """The verifier."""
        return self.verifier.actor

    def plan(self, project: Project) -> Sequence[Unit]:
        """Pairs whose masks nobody has judged."""
        return _units(self, project, State.MASKED)

    def run(self, project: Project, subject: str) -> Outcome:
        """Verdicts, and the pair moves on, or to people where any mask is unsure."""
        pair = project.view.one_pair(subject)
        maskset = project.view.maskset(subject)
        assert maskset is not None, "a masked pair has masks, if an empty set"
        masks = project.view.masks(maskset)
        read = partial(project.picture, pair["media_id"])
        items = [
            MaskItem(read=read, phrase=pair["text"], mask=mask, presence=maskset["presence"] or 0.0) for mask in masks
        ]
        begun = time.monotonic()
        choices = self.verifier.judge_masks(items) if items else []
        seconds = round((time.monotonic() - begun) / max(1, len(items)), 3)
        facts = [
            verdict_fact("mask", pair, f"{maskset['maskset_id']}#{number}", choice, self.actor, seconds=seconds)
            for number, choice in enumerate(choices)
            if choice.label != UNSURE
        ]
        is_unsure = any(choice.label == UNSURE for choice in choices)
        cause = Cause.MASKS_UNSURE if is_unsure else Cause.MASKS_DECIDED
        return Outcome(facts=facts, moves=[Move(pair_id=subject, cause=cause)])


@dataclass(frozen=True, kw_only=True)
class VerifyExhaustivity:
    """A unit a pair whose masks are decided: is any instance left out?"""

    verifier: Verifier
    name: str = "verify-exhaustivity"
    version: int = 1

    @property
    def actor(self) -> Author:
        """The verifier."""
        return self.verifier.actor

    def plan(self, project: Project) -> Sequence[Unit]:
        """Pairs whose masks are decided."""
        return _units(self, project, State.MASKS_VERIFIED)

    def run(self, project: Project, subject: str) -> Outcome:
        """A verdict; the pair becomes final, or goes to correction or to people."""
        pair = project.view.one_pair(subject)
        maskset = project.view.maskset(subject)
        assert maskset is not None, "a verified pair has masks, if an empty set"
        masks, accepted = project.view.masks(maskset), project.view.accepted(subject, maskset)
        item = ExhaustivityItem(
            read=partial(project.picture, pair["media_id"]),
            phrase=pair["text"],
            masks=[masks[number] for number in accepted],
            presence=maskset["presence"] or 0.0,
            rejected=[mask for number, mask in enumerate(masks) if number not in accepted],
        )
        begun = time.monotonic()
        choice = self.verifier.judge_exhaustivity([item])[0]
        seconds = round(time.monotonic() - begun, 3)
        ask = Move(pair_id=subject, cause=Cause.ASK_EXHAUSTIVITY)
        if choice.label == UNSURE:
            return Outcome(moves=[ask, Move(pair_id=subject, cause=Cause.EXHAUSTIVITY_UNSURE)])
        fact = verdict_fact("exhaustivity", pair, maskset["maskset_id"], choice, self.actor, seconds=seconds)
        return Outcome(facts=[fact], moves=[ask, Move(pair_id=subject, cause=cause_of(choice.label, len(accepted)))])


def cause_of(answer: str, num_masks: int) -> Cause:
    """What an answer about exhaustivity does to a pair with so many accepted masks."""
    if answer == "accept":
        return Cause.ALL_THERE if num_masks else Cause.NONE_THERE
    return CAUSE_OF_ANSWER[answer]


def verdict_fact(
    task: str, pair: Row, subject: str, choice: Choice, actor: Author, *, seconds: float = 0.0, render: str = "-"
) -> Fact:
    """A verdict as a row; it is about exactly these masks of this image, and lapses with them."""
    probabilities = {name: round(value, 5) for name, value in choice.probabilities.items()}
    values = {
        "task": task,
        "pair_id": pair["pair_id"],
        "subject": subject,
        "slot": NO_SLOT,
        "actor_id": actor.actor_id,
        "label": choice.label,
        "probs": json.dumps(probabilities, sort_keys=True),
        "confidence": round(choice.confidence, 5),
        "render": render,
        "guideline": GUIDELINE,
    }
    key = digest_of("verdict", values)
    return Fact(table="verdict", values={"verdict_id": key, "seconds": seconds, "lapsed": 0} | values)


def _units(stage: VerifyMasks | VerifyExhaustivity, project: Project, state: State) -> list[Unit]:
    return [
        Unit(
            stage=stage.name,
            version=stage.version,
            subject=row["pair_id"],
            inputs=[stage.verifier.identity, str(row["version"])],
        )
        for row in project.view.pairs(state)
    ]
