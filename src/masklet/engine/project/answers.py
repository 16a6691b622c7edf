"""Who answered what, how fast, and how far people and models agree."""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from sqlalchemy import func, select

from masklet.engine.ledger import tables as t
from masklet.engine.verify.bands import expected_calibration_error, wilson
from masklet.engine.verify.choices import TAKES_MASK
from masklet.engine.view import LedgerView


@dataclass(frozen=True, kw_only=True)
class Answers:
    """How often each answer was given, by task and kind of actor; how many each kind gave, and in how many seconds."""

    mix: dict[str, dict[str, int]]
    given: dict[str, int]
    seconds: dict[str, float]


def answers_of(view: LedgerView) -> Answers:
    """All answers by one walk along an index, whatever their number."""
    kinds = {row["actor_id"]: row["kind"] for row in view.authors()}
    said = t.verdict.c.task, t.verdict.c.actor_id, t.verdict.c.label
    query = select(*said, func.count().label("n"), func.coalesce(func.sum(t.verdict.c.seconds), 0.0).label("seconds"))
    mix: dict[str, Counter[str]] = defaultdict(Counter)
    given: Counter[str] = Counter()
    seconds: dict[str, float] = defaultdict(float)
    for row in view.ledger.read(query.group_by(*said)):
        kind = kinds[row["actor_id"]]
        mix[f"{row['task']} by {kind}"][row["label"]] += row["n"]
        given[kind] += row["n"]
        seconds[kind] += row["seconds"]
    sorted_mix = {name: dict(sorted(each.items())) for name, each in sorted(mix.items())}
    return Answers(mix=sorted_mix, given=dict(sorted(given.items())), seconds=dict(sorted(seconds.items())))


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """On what both people and models answered: equal answers of all, Cohen's kappa, Matthews' correlation.

    `accepted` are subjects that a model took, `false_accepts` those of them that people did not, `calibration` the
    expected error of the models' probabilities. Source: Cohen (1960); Matthews (1975).
    """

    both: int
    equal: int
    interval: tuple[float, float]
    kappa: float
    mcc: float
    accepted: int
    false_accepts: int
    false_interval: tuple[float, float]
    calibration: float

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    def line(self, task: str) -> str:
        """As a sentence."""
        low, high = self.interval
        return (
            f"{task}: models and people agree on {self.equal} of {self.both} ({low:.0%} to {high:.0%}), "
            f"kappa {self.kappa:.2f}, MCC {self.mcc:.2f}; people took back {self.false_accepts} of {self.accepted} "
            f"that models accepted (at most {self.false_interval[1]:.0%}); calibration error {self.calibration:.2f}"
        )


@dataclass
class _Said:
    """What was said of a subject: by people, by models, and how likely these took it to be right."""

    person: bool | None = None
    model: bool | None = None
    probability: float = 1.0


@dataclass
class _Table:
    model: list[bool] = field(default_factory=list)
    person: list[bool] = field(default_factory=list)
    probability: list[float] = field(default_factory=list)


def agreement(view: LedgerView) -> dict[str, Agreement]:
    """Of each task; verdicts that have lapsed since were said as well."""
    found: dict[tuple[str, str], _Said] = defaultdict(_Said)
    query = select(t.verdict.c.task, t.verdict.c.subject, t.verdict.c.label, t.verdict.c.confidence, t.actor.c.kind)
    query = query.join(t.actor, t.actor.c.actor_id == t.verdict.c.actor_id)
    by_people = select(t.verdict.c.pair_id).join(t.actor, t.actor.c.actor_id == t.verdict.c.actor_id)
    query = query.where(t.verdict.c.pair_id.in_(by_people.where(t.actor.c.kind == "person")))
    for row in view.ledger.read(query.order_by(t.verdict.c.verdict_id)):
        said, is_yes = found[row["task"], row["subject"]], row["label"] in TAKES_MASK
        if row["kind"] == "person":
            said.person = is_yes
        else:
            confidence = 1.0 if row["confidence"] is None else row["confidence"]
            said.model, said.probability = is_yes, confidence if is_yes else 1 - confidence
    tables: dict[str, _Table] = defaultdict(_Table)
    for (task, _), said in found.items():
        if said.person is not None and said.model is not None:
            tables[task].model.append(said.model)
            tables[task].person.append(said.person)
            tables[task].probability.append(said.probability)
    return {task: _agreement(table.model, table.person, table.probability) for task, table in sorted(tables.items())}


def _agreement(model: Sequence[bool], person: Sequence[bool], probability: Sequence[float]) -> Agreement:
    table = Counter(zip(model, person, strict=True))
    both = len(model)
    equal = table[True, True] + table[False, False]
    model_yes, person_yes = sum(model), sum(person)
    by_chance = (model_yes * person_yes + (both - model_yes) * (both - person_yes)) / both**2
    spread = math.sqrt(model_yes * (both - model_yes) * person_yes * (both - person_yes))
    product = table[True, True] * table[False, False] - table[True, False] * table[False, True]
    return Agreement(
        both=both,
        equal=equal,
        interval=wilson(equal, both),
        kappa=1.0 if by_chance == 1 else (equal / both - by_chance) / (1 - by_chance),
        mcc=product / spread if spread else 0.0,
        accepted=model_yes,
        false_accepts=table[True, False],
        false_interval=wilson(table[True, False], model_yes),
        calibration=expected_calibration_error(probability, person),
    )
