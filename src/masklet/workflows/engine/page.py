"""The page of a project: figures, samples of each state with their masks, people's answers, and what is next."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from masklet.engine.clips.drawing import strip
from masklet.engine.project.label_errors import label_errors
from masklet.engine.project.lineage import Chain
from masklet.engine.project.statistics import CHANNEL_COLUMNS, PAPER_SECONDS, EngineStats, channels
from masklet.engine.records import MaskRow
from masklet.engine.review.people import people_scores
from masklet.engine.review.pictures import from_near, jpeg, whole
from masklet.engine.stages.stage import Project
from masklet.engine.states import State
from masklet.engine.view import Row
from masklet.errors import InputError
from masklet.eval.reports.page import Card, Figure, Gallery, Report, Section, Table, write_report
from masklet.workflows.engine.folder import PAGE
from masklet.workflows.engine.page_map import map_of

SAMPLES = 8  # of each state
MOST_COUNTED = 200_000  # pairs that are counted by origin for the page
MEANINGS = {
    State.QUEUED: "waits for masks",
    State.HUMAN_MASKS: "has doubtful masks: people are asked",
    State.HUMAN_PENDING: "may be incomplete: people are asked",
    State.TO_CORRECT: "instances are missing: waits for correction",
    State.TO_CORRECT_GROUP: "missing instances cannot be told apart: waits for correction",
    State.RECHECK: "was corrected: another person looks at it",
    State.REJECTED: "the phrase does not name things in this image",
    State.FINAL_POSITIVE: "every instance is labelled",
    State.FINAL_NEGATIVE: "is known to be absent",
}


def write_page(project: Project, stats: EngineStats, step: str, folder: Path) -> Path:
    """Writes the page. Raises: InputError when it cannot be written."""
    final = sum(count for state, count in stats.states.items() if state.startswith("final"))
    figures = [
        Figure("images", stats.images),
        Figure("pairs", sum(stats.states.values())),
        Figure("final", final, note="labels of the snapshot"),
        Figure("for people", stats.for_people, note="open questions"),
        Figure("human minutes", stats.human_seconds / 60),
        Figure("masks a positive pair", stats.masks_per_positive),
        Figure("negatives", stats.share_of_negatives, note="of the final pairs"),
    ]
    states = [(state, count, MEANINGS.get(State(state), "")) for state, count in stats.states.items()]
    answers = [(who, label, count) for who, mix in stats.answers.items() for label, count in mix.items()]
    sections: list[Section] = [Table("States", ("state", "pairs", "meaning"), states)]
    sections += [gallery for state in State if (gallery := _samples(project, state)) is not None]
    sections.append(Table("Answers", ("who", "answer", "times"), answers))
    sections += _tables_of(stats)
    if sum(stats.states.values()) <= MOST_COUNTED:
        sections.append(Table("Where phrases came from", CHANNEL_COLUMNS, channels(project.view)))
    drawn = map_of(project)
    sections += [drawn] if drawn is not None else []
    scores = [(s.name, s.answers, s.seconds, s.right, s.known) for s in people_scores(project.view)]
    if scores:
        columns = ("person", "answers", "seconds each", "right", "of known questions")
        sections.append(Table("People", columns, scores, "known questions are hidden among the open ones"))
    report = Report(title="Data engine", subtitle=f"next: {step}", figures=figures, sections=sections)
    return write_report(report, folder / PAGE)


def _tables_of(stats: EngineStats) -> list[Section]:
    """Agreement of people and models, negatives and categories, each where there is something to show."""
    agreed = [
        (
            task,
            a.both,
            a.equal / a.both,
            a.kappa,
            a.mcc,
            a.false_accepts,
            a.accepted,
            a.false_interval[1],
            a.calibration,
        )
        for task, a in stats.agreement.items()
    ]
    columns = ("task", "answered by both", "equal", "kappa", "MCC", "ECE", "taken back", "of accepted", "at most")
    found: list[Section] = []
    if agreed:
        found.append(Table("People and models", columns, agreed, "what people took back of what models accepted"))
    if stats.negatives["made"]:
        found.append(
            Table("Negatives made of what images show", tuple(stats.negatives), [tuple(stats.negatives.values())])
        )
    if stats.coverage:
        found.append(Table("Phrases by category", ("category", "phrases"), list(stats.coverage.items())))
    if stats.work:
        rows = [
            (name, count, seconds / count, stats.retried.get(name, 0), stats.failed.get(name, 0))
            for name, (count, seconds) in stats.work.items()
        ]
        columns = ("stage", "units", "seconds each", "begun again", "set aside")
        found.append(Table("Work", columns, rows))
    if stats.seconds_per_answer or stats.spent["requests"]:
        costs = [(f"seconds of an answer by a {kind}", seconds) for kind, seconds in stats.seconds_per_answer.items()]
        costs += [(f"{name.replace('_', ' ')} of language models", n) for name, n in stats.spent.items() if n]
        if stats.seconds_per_final_pair is not None:
            costs.append(("people's seconds for each final pair", stats.seconds_per_final_pair))
            costs += [(f"the paper's, {way}", seconds) for way, seconds in PAPER_SECONDS.items()]
        found.append(Table("Costs", ("what", "how much"), costs))
    return found


def _samples(project: Project, state: State) -> Gallery | None:
    """Some pairs of a state with the masks that hold, or were proposed; None when there is none to show."""
    cards = []
    for pair in project.view.pairs(state, limit=SAMPLES):
        maskset = project.view.maskset(pair["pair_id"])
        masks = project.view.masks(maskset) if maskset else []
        accepted = project.view.accepted(pair["pair_id"], maskset) if maskset else []
        shown = [masks[number] for number in accepted] if accepted else masks
        try:
            picture = jpeg(_drawn(project, pair["media_id"], shown))
        except InputError:  # an original that is gone has no sample
            continue
        uri = project.view.one_media(pair["media_id"])["uri"]
        cards.append(Card(picture, f"{pair['text']} in {uri}", (pair["text"],), f"{len(shown)} masks"))
    return Gallery(f"Samples: {state}", cards, MEANINGS.get(state, "")) if cards else None


def _drawn(project: Project, media_id: str, shown: Sequence[MaskRow]) -> Image.Image:
    if project.view.one_media(media_id)["profile"] is not None:
        return strip(project, media_id, shown)
    return whole(project.picture(media_id), shown)


def write_errors(project: Project, path: Path, limit: int) -> Counter[str]:
    """Writes the surest suspicions about existing labels with their pictures; how many there are of each kind.

    Raises: InputError when no labels came in.
    """
    found = label_errors(project.view)
    counts = Counter(each.kind for each in found)
    if not any(row["kind"] == "labels" for row in project.view.authors()):
        raise InputError("no labels came in: name them with `masklet engine run ... --labels FILE`")
    cards = [
        Card(
            jpeg(from_near(project.picture(each.media_id), each.mask)),
            f"{each.kind}: {each.phrase} in {each.uri}",
            (each.kind, each.phrase),
            f"{each.instead}, certainty {each.certainty:.2f}",
        )
        for each in found[:limit]
    ]
    figures = [Figure(kind, count) for kind, count in sorted(counts.items())]
    gallery = Gallery("The surest first", cards, "suspicions of a model: look before changing anything")
    report = Report(title="Label errors", subtitle="what the model contradicts", figures=figures, sections=[gallery])
    write_report(report, path)
    return counts


def write_why(project: Project, chain: Chain, path: Path) -> Path:
    """Writes the chain of a label with what was shown to whoever judged it, drawn anew from the same photo and masks.

    Raises: InputError when the photo is gone or has changed, for then it would not be what they saw.
    """
    if not chain.is_there:
        raise InputError(f"{chain.media['uri']} has changed since it was judged: put back the photo of that time")
    cards = [
        Card(
            jpeg(_judged(project, verdict)),
            f"{verdict['label']} by {verdict['kind']} {verdict['name']}",
            (verdict["task"], verdict["kind"]),
            "lapsed" if verdict["lapsed"] else f"confidence {verdict['confidence'] or 0:.2f}",
        )
        for verdict in chain.verdicts
    ]
    told = Table("The chain", ("what it rests on",), [(line.strip(),) for line in chain.lines()])
    title = f"{chain.annotation['text']} in {chain.media['uri']}"
    gallery = Gallery("What was judged", cards, "as it was shown")
    return write_report(Report(title=title, subtitle=chain.lines()[0], figures=[], sections=[told, gallery]), path)


def _judged(project: Project, verdict: Row) -> Image.Image:
    """The picture that a verdict is about."""
    set_id, _, number = verdict["subject"].partition("#")
    view, pair = project.view, project.view.one_pair(verdict["pair_id"])
    maskset = view.maskset_by_id(set_id)
    masks = view.masks(maskset) if maskset else []
    if number:
        mask = masks[int(number)]
        return from_near(project.picture(pair["media_id"], mask.frame), mask)
    accepted = view.accepted(pair["pair_id"], maskset) if maskset else []
    return _drawn(project, pair["media_id"], [masks[place] for place in accepted])
