"""Figures of a project: where pairs stand, who answered what and how fast, how far people and models agree."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from sqlalchemy import func, select

from masklet.engine.ledger import tables as t
from masklet.engine.ledger.units import Units
from masklet.engine.ontology.concepts import Ontology, concepts_of, shipped
from masklet.engine.project.answers import Agreement, agreement, answers_of
from masklet.engine.stages.finalise import SYNTHETIC
from masklet.engine.states import FOR_MODELS, FOR_PEOPLE, State
from masklet.engine.verify.watch import NO_FIELD
from masklet.engine.view import IS_THERE, LedgerView

ON_SCORES = " (SYN rests on the model's own scores alone: look at some of it before you trust it)"
PAPER_SECONDS = {"from the phrase": 90, "from masks": 86, "all by people": 50, "with verifiers": 23}


@dataclass(frozen=True, kw_only=True)
class EngineStats:
    """Figures of a project at present; seconds per pair are those of people's recorded answers."""

    images: int
    broken: int
    copies: int  # files that equal another one byte by byte
    duplicates: int
    replaced: int  # photos whose files are gone or hold others by now: their labels have lapsed
    phrases: int
    states: Mapping[str, int]
    for_people: int
    tiers: Mapping[str, int]
    answers: Mapping[str, Mapping[str, int]]  # of each task and kind of actor
    human_seconds: float
    seconds_per_final_pair: float | None
    seconds_per_answer: Mapping[str, float]  # of each kind of actor
    masks_per_positive: float | None
    negatives: Mapping[str, int]  # made from what images show: see LedgerView.negative_figures
    coverage: Mapping[str, int]  # phrases by category of the ontology
    spent: Mapping[str, int]  # on language models
    work: Mapping[str, tuple[int, float]] = field(default_factory=dict)  # units of each stage, and their seconds
    agreement: Mapping[str, Agreement] = field(default_factory=dict)
    failed: Mapping[str, int] = field(default_factory=dict)
    retried: Mapping[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain values, with the paper's seconds for comparison."""
        return asdict(self) | {"paper_seconds_per_pair": PAPER_SECONDS}

    @property
    def share_of_negatives(self) -> float | None:
        """Of final pairs, those that are known to be absent."""
        absent, present = (self.states.get(str(state), 0) for state in (State.FINAL_NEGATIVE, State.FINAL_POSITIVE))
        return absent / (absent + present) if absent + present else None

    @property
    def pairs_an_hour(self) -> float | None:
        """Final pairs for each hour that one worker was at work."""
        final = sum(self.tiers.values())
        seconds = sum(seconds for _, seconds in self.work.values())
        return 3600 * final / seconds if final and seconds else None

    def lines(self) -> list[str]:
        """The figures as text."""
        states = ", ".join(f"{count} {state}" for state, count in self.states.items()) or "none yet"
        found = [
            f"{self.images} images ({self.broken} broken, {self.copies} equal copies, "
            f"{self.duplicates} near duplicates{f', {self.replaced} changed or gone since' * bool(self.replaced)}), "
            f"{self.phrases} phrases",
            f"pairs: {states}",
            f"tiers: {', '.join(f'{count} {tier}' for tier, count in self.tiers.items()) or 'nothing is final yet'}"
            + ON_SCORES * (SYNTHETIC in self.tiers),
            f"for people: {self.for_people} pairs; people spent {self.human_seconds / 60:.1f} minutes",
        ]
        if self.seconds_per_final_pair is not None:
            found.append(f"human seconds per final pair: {self.seconds_per_final_pair:.1f} (paper: 90, 86, 50, 23)")
        found += [
            f"{who}: {', '.join(f'{count} {label}' for label, count in mix.items())}"
            for who, mix in self.answers.items()
        ]
        if self.seconds_per_answer:
            told = ", ".join(f"{seconds:.2f} s by a {kind}" for kind, seconds in self.seconds_per_answer.items())
            found.append(f"an answer takes {told}")
        found += [agreed.line(task) for task, agreed in self.agreement.items()]
        if self.share_of_negatives is not None:
            found.append(f"{self.share_of_negatives:.0%} of the final pairs are negatives")
        if self.negatives["made"]:
            n = self.negatives
            found.append(
                f"negatives made of what images show: {n['final']} of {n['made']} final, {n['hard']} of them hard, "
                f"{n['overturned']} turned out to be there"
            )
        if self.coverage:
            found.append(f"phrases by category: {', '.join(f'{n} {name}' for name, n in self.coverage.items())}")
        if self.masks_per_positive is not None:
            found.append(f"{self.masks_per_positive:.2f} masks a positive pair")
        if self.pairs_an_hour is not None:
            each = ", ".join(f"{name} {seconds / count:.2f}" for name, (count, seconds) in self.work.items())
            found.append(f"{self.pairs_an_hour:.0f} final pairs an hour of work; seconds a unit: {each}")
        if self.spent["requests"]:
            tokens = self.spent["prompt_tokens"] + self.spent["completion_tokens"]
            found.append(f"language models: {self.spent['requests']} requests, {tokens} tokens")
        found += [f"{count} units of {stage} were begun more than once" for stage, count in self.retried.items()]
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
    said = answers_of(view)
    corrected = select(func.coalesce(func.sum(t.correction.c.seconds), 0.0).label("n"))
    seconds = said.seconds.get("person", 0.0) + view.ledger.read(corrected)[0]["n"]
    units = Units(view.ledger)
    broken = select(func.count().label("n")).select_from(t.media).where(t.media.c.error.is_not(None), IS_THERE)
    num_broken = view.ledger.read(broken)[0]["n"]
    num_replaced = view.ledger.count("replaced")
    num_files = select(func.count().label("n"), func.count(t.place.c.media_id.distinct()).label("images"))
    files = view.ledger.read(num_files)[0]
    return EngineStats(
        images=view.ledger.count("media") - num_broken - num_replaced,
        broken=num_broken,
        copies=files["n"] - files["images"],
        duplicates=view.num_duplicates(),
        replaced=num_replaced,
        phrases=view.ledger.count("phrase"),
        states=states,
        for_people=sum(states.get(str(state), 0) for state in FOR_PEOPLE),
        tiers=dict(sorted(tiers.items())),
        answers=said.mix,
        human_seconds=seconds,
        seconds_per_final_pair=seconds / num_final if seconds and num_final else None,
        seconds_per_answer={kind: said.seconds[kind] / count for kind, count in said.given.items()},
        masks_per_positive=sum(int(row["masks"]) for row in positive) / num_positive if positive else None,
        negatives=view.negative_figures(),
        coverage=coverage(view, shipped()),
        spent=_spent(view),
        work=_work(view),
        agreement=agreement(view),
        failed={stage: n for (stage, state), n in sorted(units.counts().items()) if state == "poison"},
        retried=units.retried(),
    )


def _spent(view: LedgerView) -> dict[str, int]:
    columns = t.spent.c.requests, t.spent.c.prompt_tokens, t.spent.c.completion_tokens
    query = select(*(func.coalesce(func.sum(column), 0).label(column.name) for column in columns))
    return {name: int(value) for name, value in view.ledger.read(query)[0].items()}


def _work(view: LedgerView) -> dict[str, tuple[int, float]]:
    total = func.sum(t.worked.c.units).label("units"), func.sum(t.worked.c.seconds).label("seconds")
    rows = view.ledger.read(select(t.worked.c.stage, *total).group_by(t.worked.c.stage).order_by(t.worked.c.stage))
    return {row["stage"]: (int(row["units"]), round(float(row["seconds"]), 3)) for row in rows}


CHANNEL_COLUMNS = ("phrases from", "pairs", "present", "absent", "unfit", "open")
_OUTCOMES = {
    State.FINAL_POSITIVE: "present",
    State.FINAL_NEGATIVE: "absent",
    **dict.fromkeys((State.PHRASE_REJECTED, State.REJECTED, State.JOB_REJECTED), "unfit"),
}


def channels(view: LedgerView) -> list[tuple[str, int, int, int, int, int]]:
    """What became of the phrases of each origin, as rows of `CHANNEL_COLUMNS`; every pair is looked at for it."""
    query = select(t.pair.c.origin, t.pair.c.state, func.count().label("n")).group_by(t.pair.c.origin, t.pair.c.state)
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for row in view.ledger.read(query):
        found[row["origin"]][_OUTCOMES.get(State(row["state"]), "open")] += row["n"]
    return [
        (origin, sum(n.values()), n["present"], n["absent"], n["unfit"], n["open"])
        for origin, n in sorted(found.items())
    ]


def coverage(view: LedgerView, ontology: Ontology) -> dict[str, int]:
    """How many phrases were asked of each category of the ontology, of those that name none under "other"."""
    query = select(t.phrase.c.text).where(t.phrase.c.revoked == 0)
    texts = [row["text"] for row in view.ledger.read(query)]
    concepts = concepts_of(ontology, texts)
    found = Counter(concepts[text].category if text in concepts else NO_FIELD for text in texts)
    return dict(sorted(found.items()))


def next_step(states: Mapping[str, int], folder: str) -> str:
    """The next best thing to do, as a sentence with its command."""
    waiting = sum(states.get(str(state), 0) for state in FOR_MODELS)
    if waiting:
        return f"{waiting} pairs wait for the model: masklet engine resume {folder}"
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
