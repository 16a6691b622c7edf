"""Figures of a project: where pairs stand, who answered what and how fast, how far people and models agree."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from sqlalchemy import func, select

from masklet.engine.ledger import tables as t
from masklet.engine.ledger.units import Units
from masklet.engine.states import FOR_PEOPLE, State
from masklet.engine.verify.bands import wilson
from masklet.engine.view import LedgerView

PAPER_SECONDS = {"from the phrase": 90, "from masks": 86, "all by people": 50, "with verifiers": 23}


@dataclass(frozen=True, kw_only=True)
class EngineStats:
    """Figures of a project at present; seconds per pair are those of people's recorded answers."""

    images: int
    broken: int
    duplicates: int
    phrases: int
    states: Mapping[str, int]
    for_people: int
    tiers: Mapping[str, int]
    answers: Mapping[str, Mapping[str, int]]  # of each task and kind of actor
    human_seconds: float
    seconds_per_final_pair: float | None
    masks_per_positive: float | None
    agreement: Mapping[str, Any] = field(default_factory=dict)
    failed: Mapping[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain values, with the paper's seconds for comparison."""
        return asdict(self) | {"paper_seconds_per_pair": PAPER_SECONDS}

    def lines(self) -> list[str]:
        """The figures as text."""
        states = ", ".join(f"{count} {state}" for state, count in self.states.items()) or "none yet"
        found = [
            f"{self.images} images ({self.broken} broken, {self.duplicates} duplicates), {self.phrases} phrases",
            f"pairs: {states}",
            f"tiers: {', '.join(f'{count} {tier}' for tier, count in self.tiers.items()) or 'nothing is final yet'}",
            f"for people: {self.for_people} pairs; people spent {self.human_seconds / 60:.1f} minutes",
        ]
        if self.seconds_per_final_pair is not None:
            found.append(f"human seconds per final pair: {self.seconds_per_final_pair:.1f} (paper: 90, 86, 50, 23)")
        found += [
            f"{who}: {', '.join(f'{count} {label}' for label, count in mix.items())}"
            for who, mix in self.answers.items()
        ]
        for task, agreed in self.agreement.items():
            low, high = agreed["interval"]
            found.append(
                f"{task}: models and people agree on {agreed['equal']} of {agreed['both']} "
                f"({low:.0%} to {high:.0%}), kappa {agreed['kappa']:.2f}"
            )
        found += [
            f"{count} units of {stage} were set aside after three attempts" for stage, count in self.failed.items()
        ]
        return found


def statistics(view: LedgerView) -> EngineStats:
    """The figures of a project, each by one query."""
    states = {str(state): count for state, count in sorted(view.counts().items())}
    figures = view.annotation_figures()
    num_final, positive = sum(row["n"] for row in figures), [row for row in figures if row["polarity"]]
    num_positive = sum(row["n"] for row in positive)
    tiers: Counter[str] = Counter()
    for row in figures:
        tiers[row["tier"]] += row["n"]
    seconds = view.ledger.read(select(func.coalesce(func.sum(t.verdict.c.seconds), 0.0).label("n")))[0]["n"]
    seconds += view.ledger.read(select(func.coalesce(func.sum(t.correction.c.seconds), 0.0).label("n")))[0]["n"]
    broken = select(func.count().label("n")).select_from(t.media).where(t.media.c.error.is_not(None))
    num_broken = view.ledger.read(broken)[0]["n"]
    return EngineStats(
        images=view.ledger.count("media") - num_broken,
        broken=num_broken,
        duplicates=view.num_duplicates(),
        phrases=view.ledger.count("phrase"),
        states=states,
        for_people=sum(states.get(str(state), 0) for state in FOR_PEOPLE),
        tiers=dict(sorted(tiers.items())),
        answers=answer_mix(view),
        human_seconds=seconds,
        seconds_per_final_pair=seconds / num_final if seconds and num_final else None,
        masks_per_positive=sum(int(row["masks"]) for row in positive) / num_positive if positive else None,
        agreement=agreement(view),
        failed={stage: n for (stage, state), n in sorted(Units(view.ledger).counts().items()) if state == "poison"},
    )


def answer_mix(view: LedgerView) -> dict[str, dict[str, int]]:
    """How often each answer was given, by task and kind of actor."""
    query = select(t.verdict.c.task, t.actor.c.kind, t.verdict.c.label, func.count().label("n"))
    query = query.join(t.actor, t.actor.c.actor_id == t.verdict.c.actor_id)
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for row in view.ledger.read(query.group_by(t.verdict.c.task, t.actor.c.kind, t.verdict.c.label)):
        found[f"{row['task']} by {row['kind']}"][row["label"]] = row["n"]
    return {name: dict(sorted(mix.items())) for name, mix in sorted(found.items())}


def agreement(view: LedgerView) -> dict[str, dict[str, Any]]:
    """On subjects that both people and models or rules answered, of each task: share, its interval, Cohen's kappa.

    Source: Cohen (1960), A coefficient of agreement for nominal scales.
    """
    said: dict[tuple[str, str], dict[bool, bool]] = defaultdict(dict)
    query = select(t.verdict.c.task, t.verdict.c.subject, t.verdict.c.label, t.actor.c.kind)
    query = query.join(t.actor, t.actor.c.actor_id == t.verdict.c.actor_id)
    by_people = select(t.verdict.c.pair_id).join(t.actor, t.actor.c.actor_id == t.verdict.c.actor_id)
    for row in view.ledger.read(query.where(t.verdict.c.pair_id.in_(by_people.where(t.actor.c.kind == "person")))):
        said[row["task"], row["subject"]][row["kind"] == "person"] = row["label"] in ("accept", "text")
    tables: dict[str, Counter[tuple[bool, bool]]] = defaultdict(Counter)
    for (task, _), answers in said.items():
        if len(answers) == 2:
            tables[task][answers[False], answers[True]] += 1
    return {task: _agreement(table) for task, table in sorted(tables.items())}


def _agreement(table: Counter[tuple[bool, bool]]) -> dict[str, Any]:
    both = sum(table.values())
    equal = table[True, True] + table[False, False]
    model = (table[True, True] + table[True, False]) / both
    person = (table[True, True] + table[False, True]) / both
    by_chance = model * person + (1 - model) * (1 - person)
    kappa = 1.0 if by_chance == 1 else (equal / both - by_chance) / (1 - by_chance)
    return {"both": both, "equal": equal, "interval": wilson(equal, both), "kappa": kappa}


def next_step(states: Mapping[str, int], folder: str) -> str:
    """The next best thing to do, as a sentence with its command."""
    if states.get(str(State.HUMAN_MASKS)):
        count = states[str(State.HUMAN_MASKS)]
        return f"{count} pairs have doubtful masks: masklet engine review {folder} --task masks --out sheet.html"
    if states.get(str(State.HUMAN_PENDING)) or states.get(str(State.RECHECK)):
        count = states.get(str(State.HUMAN_PENDING), 0) + states.get(str(State.RECHECK), 0)
        return f"{count} pairs may be incomplete: masklet engine review {folder} --task exhaustivity --out sheet.html"
    if states.get(str(State.TO_CORRECT)) or states.get(str(State.TO_CORRECT_GROUP)):
        count = states.get(str(State.TO_CORRECT), 0) + states.get(str(State.TO_CORRECT_GROUP), 0)
        return f"{count} pairs wait for correction: masklet engine export {folder} --for-correction --out correct"
    if states.get(str(State.FINAL_POSITIVE)):
        return f"look at some of what nobody asked about: masklet engine review {folder} --task audit --out sheet.html"
    return "nothing was found: try other phrases, or more photos"
