"""Answers of people move pairs on. An answer about masks that have changed since has lapsed and moves nothing."""

from collections import Counter, defaultdict
from collections.abc import Sequence

from masklet.engine.records import Author, Fact, Move, Outcome
from masklet.engine.review.people import CHECKED, is_hidden, known_answer
from masklet.engine.review.verdict_file import Decision, VerdictFile
from masklet.engine.stages.stage import Project
from masklet.engine.stages.verification import cause_of, verdict_fact
from masklet.engine.states import FINAL, Cause, State
from masklet.engine.verify.choices import TAKES_MASK, UNSURE, Choice
from masklet.engine.view import Row
from masklet.errors import InputError

OPEN = {
    "masks": frozenset({State.HUMAN_MASKS}),
    "exhaustivity": frozenset({State.HUMAN_PENDING, State.RECHECK}),
    "audit": FINAL,
}


def take_in(project: Project, file: VerdictFile, name: str) -> Counter[str]:
    """Adds the answers in somebody's name; how many were taken, lapsed, decided before, left open, or unknown.

    Raises: InputError without a name. What an answer is about is looked up: none can move what it does not name.
    """
    if not name.strip() or len(name) > 100:
        raise InputError("a verdict belongs to somebody: give a name of 1 to 100 letters")
    actor = Author(kind="person", name=" ".join(name.split()))
    by_pair: dict[str, list[Decision]] = defaultdict(list)
    for answer in file.answers:
        by_pair[answer.pair].append(answer)
    counts: Counter[str] = Counter()
    known = {row["pair_id"]: row for row in project.view.pairs()}
    for pair_id, answers in sorted(by_pair.items()):
        if pair_id not in known:
            counts["unknown"] += len(answers)
            continue
        _take_in_pair(project, file.task, known[pair_id], answers, actor, counts)
    return counts


def _take_in_pair(
    project: Project, task: str, pair: Row, answers: Sequence[Decision], actor: Author, counts: Counter[str]
) -> None:
    maskset = project.view.maskset(pair["pair_id"])
    current = [each for each in answers if maskset and each.maskset == maskset["maskset_id"]]
    counts["lapsed"] += len(answers) - len(current)
    unsure = [each for each in current if each.label == UNSURE]
    counts["unsure"] += len(unsure)
    said = [each for each in current if each.label != UNSURE]
    if not said or maskset is None:
        return
    if State(pair["state"]) not in OPEN[task] or (task != "masks" and _has_said(project, pair, actor)):
        checked = _check_known(project, pair, said, actor) if task == "masks" else 0
        counts["known before"] += checked
        counts["decided before"] += len(said) - checked
        return
    outcome = (
        _of_masks(project, pair, maskset, said, actor) if task == "masks" else _of_all(project, pair, said[-1], actor)
    )
    project.view.ledger.act(outcome, actor)
    counts["taken"] += len(said)


def _check_known(project: Project, pair: Row, said: Sequence[Decision], actor: Author) -> int:
    """Answers to questions that were hidden in the sheet are kept beside the known ones; how many there were."""
    count, ledger = 0, project.view.ledger
    for each in said:
        subject = f"{each.maskset}#{each.number}"
        known = known_answer(project.view, pair["pair_id"], subject, asked_by=actor.actor_id)
        if known is None or not is_hidden(subject):
            continue
        payload = {"known": known, "said": each.label in TAKES_MASK, "seconds": float(each.seconds)}
        with ledger.transaction() as connection:
            ledger.apply(connection, Outcome(facts=[actor.fact()]), actor)
            ledger.tell(connection, actor, CHECKED, subject, payload)
        count += 1
    return count


def _has_said(project: Project, pair: Row, actor: Author) -> bool:
    """Nobody checks what they said themselves."""
    said = project.view.verdicts(pair["pair_id"], "exhaustivity")
    return any(row["actor_id"] == actor.actor_id for row in said)


def _of_masks(project: Project, pair: Row, maskset: Row, said: Sequence[Decision], actor: Author) -> Outcome:
    """Verdicts, and the pair moves on once no mask is left without one."""
    latest = {f"{each.maskset}#{each.number}": each for each in said if (each.number or 0) < maskset["num_masks"]}
    before = {row["subject"] for row in project.view.verdicts(pair["pair_id"], "mask")}
    facts = [_fact("mask", pair, subject, each, actor) for subject, each in latest.items() if subject not in before]
    wanted = {f"{maskset['maskset_id']}#{number}" for number in range(maskset["num_masks"])}
    moves = [Move(pair_id=pair["pair_id"], cause=Cause.MASKS_DECIDED)] if wanted <= before | latest.keys() else []
    return Outcome(facts=facts, moves=moves)


def _of_all(project: Project, pair: Row, answer: Decision, actor: Author) -> Outcome:
    """A verdict on the whole, and where it moves the pair from where it is."""
    maskset = project.view.maskset(pair["pair_id"])
    num_masks = len(project.view.accepted(pair["pair_id"], maskset)) if maskset else 0
    fact = _fact("exhaustivity", pair, answer.maskset, answer, actor)
    if State(pair["state"]) in FINAL:
        cause = None if answer.label == "accept" else Cause.AUDIT_FAILED
    elif State(pair["state"]) is State.RECHECK and answer.label != "accept":
        cause = Cause.SOME_MISSING
    else:
        cause = cause_of(answer.label, num_masks)
    moves = [] if cause is None else [Move(pair_id=pair["pair_id"], cause=cause)]
    withdrawn = () if answer.label == "accept" else _acceptances(project, pair)
    return Outcome(facts=[fact], moves=moves, lapsed=withdrawn)


def _acceptances(project: Project, pair: Row) -> list[str]:
    """Verdicts that a person has just contradicted: they carry nothing any more."""
    said = project.view.verdicts(pair["pair_id"], "exhaustivity")
    return [row["verdict_id"] for row in said if row["label"] == "accept"]


def _fact(task: str, pair: Row, subject: str, answer: Decision, actor: Author) -> Fact:
    choice = Choice(label=answer.label, probabilities={answer.label: 1.0})
    return verdict_fact(task, pair, subject, choice, actor, seconds=float(answer.seconds))
