"""A final pair becomes an annotation: which masks, how complete, and the evidence that its tier demands."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from masklet.engine.digests import digest_of
from masklet.engine.ledger.ledger import RULES
from masklet.engine.records import Author, Fact, Outcome, Unit
from masklet.engine.stages.stage import Project
from masklet.engine.states import FINAL, State
from masklet.engine.view import Row
from masklet.errors import InputError

PEOPLE, MODELS, SYNTHETIC = "HQ-human", "HQ-ai", "SYN"
NO_SLOT = "-"


@dataclass(frozen=True, kw_only=True)
class Finalise:
    """A unit for each time that a pair became final."""

    name: str = "finalise"
    version: int = 1
    actor: Author = RULES

    def plan(self, project: Project) -> Sequence[Unit]:
        """Final pairs; one that was reopened and is final again gets a new revision."""
        return [
            Unit(stage=self.name, version=self.version, subject=row["pair_id"], inputs=[str(row["version"])])
            for row in project.view.pairs(*FINAL)
        ]

    def run(self, project: Project, subject: str) -> Outcome:
        """The annotation. Raises: InputError when the evidence for it is not there."""
        pair, maskset = project.view.one_pair(subject), project.view.maskset(subject)
        verdicts = [row for row in project.view.verdicts(subject) if maskset and _is_about(row, maskset)]
        accepted = project.view.accepted(subject, maskset) if maskset else []
        evidence = sorted(row["verdict_id"] for row in verdicts if row["label"] in ("accept", "text"))
        tier = tier_of(verdicts)
        check_evidence(pair, verdicts, accepted, tier)
        revision = pair["version"]
        masks = project.view.masks(maskset) if maskset else []
        groups = any(masks[number].group for number in accepted)
        values = {
            "pair_id": subject,
            "slot": NO_SLOT,
            "revision": revision,
            "polarity": int(pair["state"] == State.FINAL_POSITIVE),
            "maskset_id": maskset["maskset_id"] if maskset else None,
            "masks": json.dumps(accepted),
            "instance_exhaustive": int(not groups),
            "pixel_exhaustive": 1,
            "tier": tier,
            "evidence": json.dumps(evidence),
        }
        key = digest_of("annotation", values)
        return Outcome(facts=[Fact(table="annotation", values={"annotation_id": key, "revoked": 0} | values)])


def tier_of(verdicts: Sequence[Row]) -> str:
    """Whose word the annotation rests on: people's, a trained verifier's, or rules and scores alone."""
    kinds = {row["kind"] for row in verdicts if row["task"] == "exhaustivity" and row["label"] == "accept"}
    if "person" in kinds:
        return PEOPLE
    return MODELS if "model" in kinds else SYNTHETIC


def check_evidence(pair: Row, verdicts: Sequence[Row], accepted: Sequence[int], tier: str) -> None:
    """Raises: InputError when an annotation would lack what it must rest on.

    Every accepted mask has a verdict that takes it, and the whole an acceptance of its exhaustivity; of people's tier
    that acceptance is a person's.
    """
    taken = {row["subject"].partition("#")[2] for row in verdicts if row["task"] == "mask"}
    missing = [number for number in accepted if str(number) not in taken]
    whole = [row for row in verdicts if row["task"] == "exhaustivity" and row["label"] == "accept"]
    if missing or not whole or (tier == PEOPLE and not any(row["kind"] == "person" for row in whole)):
        raise InputError(
            f"pair {pair['pair_id']} cannot be final: {len(missing)} masks lack a verdict, "
            f"{len(whole)} verdicts say that all are there; it needs one of {tier}"
        )
    if (pair["state"] == State.FINAL_POSITIVE) != bool(accepted):
        raise InputError(f"pair {pair['pair_id']} is {pair['state']} with {len(accepted)} accepted masks")


def _is_about(verdict: Row, maskset: Row) -> bool:
    return verdict["subject"].partition("#")[0] == maskset["maskset_id"]
