"""The agent on a benchmark of sentences: a mask a sentence, with what it cost. A run that was stopped goes on."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from statistics import quantiles
from typing import Any

import numpy as np
from jaxtyping import Bool

from masklet.agent.episode import AgentOutcome
from masklet.errors import InputError
from masklet.eval.tasks.free_text import DescribedPair, described_metrics
from masklet.eval.tasks.referring import RegionScore, is_exact_set, region_metrics
from masklet.files import write_atomically
from masklet.formats.records import inside
from masklet.formats.referring import Sentence, draw, read_benchmark
from masklet.media.images import read_image
from masklet.ops.masks import rle_decode, rle_encode
from masklet.workflows.asking.ask_agent import Planner, answered, planned
from masklet.workflows.model_choice import ModelChoice
from masklet.workflows.observer import SILENT, JobObserver

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class AgentEvalJob:
    """A benchmark (`formats.referring.BENCHMARKS`) with the folder of its images, and where answers are kept."""

    benchmark: str
    labels: Path
    images: Path
    out: Path
    split: str = "val"
    model: ModelChoice = field(default_factory=ModelChoice)
    planner: Planner = field(default_factory=Planner)

    @property
    def arguments(self) -> Json:
        """What answers must share to be used again."""
        return {
            "benchmark": self.benchmark,
            "split": self.split,
            "model": self.model.name,
            "planner": self.planner.url or "rules",
            "llm": self.planner.model,
            "mode": self.planner.mode,
            "effort": self.planner.effort,
        }


def evaluate_agent(job: AgentEvalJob, observer: JobObserver = SILENT) -> Mapping[str, float]:
    """Figures of the regions, by ReasonSeg's kinds where it has them, and what they cost.

    Raises: InputError on labels or images that cannot be read, or answers of a run with other arguments.
    """
    sentences = list(read_benchmark(job.benchmark, job.labels, job.split))
    if not sentences:
        raise InputError(f"{job.labels} holds no sentence of the split {job.split!r}")
    answers = {each["id"]: each for each in _answered(job, sentences, observer)}
    score = {"omnilabel": _descriptions, "own": _sets}.get(job.benchmark, _regions)
    figures = dict(score(sentences, answers)) | _costs(list(answers.values()))
    write_atomically(job.out / "figures.json", json.dumps(figures, indent=2) + "\n")
    return figures


def _regions(sentences: Sequence[Sentence], answers: Mapping[str, Json]) -> dict[str, float]:
    """One mask a sentence, by sort where there are several."""
    scores: dict[str, RegionScore] = {}
    for sentence in sentences:
        answer = answers[sentence.id]
        height, width = answer["size"]
        target, ignored = draw(sentence, (height, width))
        scores[sentence.id] = RegionScore.of(target, rle_decode(answer["counts"], height, width), ignored)
    figures = dict(region_metrics(list(scores.values())))
    for sort in sorted({sentence.sort for sentence in sentences} - {""}):
        part = region_metrics([scores[each.id] for each in sentences if each.sort == sort])
        figures |= {f"{sort} {key}": part[key] for key in ("gIoU", "cIoU")}
    return figures


def _sets(sentences: Sequence[Sentence], answers: Mapping[str, Json]) -> dict[str, float]:
    """The share of sentences whose instances are exactly right, by sort, and their regions."""
    right: dict[str, list[bool]] = defaultdict(list)
    for sentence in sentences:
        answer = answers[sentence.id]
        size = (answer["size"][0], answer["size"][1])
        meant = [draw(replace(sentence, shapes=(shape,)), size)[0] for shape in sentence.shapes]
        found = [rle_decode(mark["counts"], *size) for mark in answer["marks"]]
        is_right = is_exact_set(_stacked(found, size), _stacked(meant, size))
        for group in ("exact", f"exact {sentence.sort}", *([] if meant else ["exact where nothing is meant"])):
            right[group].append(is_right)
    return {group: float(np.mean(each)) for group, each in right.items()} | _regions(sentences, answers)


def _stacked(masks: Sequence[np.ndarray], size: tuple[int, int]) -> Bool[np.ndarray, "mask height width"]:
    return np.stack(masks) if masks else np.zeros((0, *size), dtype=bool)


def _descriptions(sentences: Sequence[Sentence], answers: Mapping[str, Json]) -> Mapping[str, float]:
    """AP of boxes; the score of one is how sure the answer is, times the segmenter's."""
    pairs: list[DescribedPair] = []
    for sentence in sentences:
        answer = answers[sentence.id]
        boxes = np.array(sentence.boxes, float).reshape(-1, 4)
        found = [mark["box"] for mark in answer["marks"]]
        scores = [answer["confidence"] * mark["score"] for mark in answer["marks"]]
        pairs.append(
            DescribedPair(
                text=sentence.text,
                is_category=sentence.sort == "categ",
                boxes=np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1),
                found=np.array(found, float).reshape(-1, 4),
                scores=np.array(scores, float),
            )
        )
    return described_metrics(pairs)


def _answered(job: AgentEvalJob, sentences: list[Sentence], observer: JobObserver) -> Iterator[Json]:
    """Answers that an earlier run left, then those that are missing, image by image."""
    job.out.mkdir(parents=True, exist_ok=True)
    kept, settings = job.out / "answers.jsonl", job.out / "run.json"
    if settings.exists() and json.loads(settings.read_text()) != job.arguments:
        raise InputError(f"{job.out} holds answers of a run with other arguments; choose another folder")
    write_atomically(settings, json.dumps(job.arguments))
    done = {each["id"]: each for each in _read_lines(kept)}
    yield from done.values()
    missing = sorted((each for each in sentences if each.id not in done), key=lambda each: each.image)
    if not missing:
        return
    team = planned(job.planner, job.model.name)
    model = job.model.load()
    observer.started(len(missing), "sentences")
    with kept.open("a", encoding="utf-8") as file:
        for name, group in groupby(missing, key=lambda each: each.image):
            image = read_image(inside(job.images, name, f"{job.labels}: image"))
            with model.open(image) as session:
                for sentence in group:
                    outcome = answered(team, sentence.text, image, session, keep_images=False)
                    answer = _plain(sentence, outcome, image.shape[:2])
                    file.write(json.dumps(answer) + "\n")
                    file.flush()
                    observer.advanced()
                    yield answer
    observer.finished()


def _read_lines(path: Path) -> list[Json]:
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    found: list[Json] = []
    for line in lines:
        try:
            found.append(json.loads(line))
        except ValueError:  # the line that was being written when the run was stopped
            continue
    return found


def _plain(sentence: Sentence, outcome: AgentOutcome, size: tuple[int, int]) -> Json:
    mask = np.zeros(size, dtype=bool) if outcome.mask is None else outcome.mask
    return {
        "id": sentence.id,
        "size": list(size),
        "counts": rle_encode(mask),
        "marks": [{"box": list(m.box), "score": m.score, "counts": rle_encode(m.mask)} for m in outcome.marks],
        "confidence": outcome.confidence,
        "status": outcome.status,
        "seconds": outcome.seconds,
        "prompts": outcome.prompts,
        "requests": outcome.usage.requests,
        "tokens": outcome.usage.prompt_tokens + outcome.usage.completion_tokens,
    }


def _costs(answers: list[Json]) -> dict[str, float]:
    seconds = sorted(float(each["seconds"]) for each in answers)
    cuts = quantiles(seconds, n=20, method="inclusive") if len(seconds) > 1 else seconds * 19
    counts = {
        f"mean {name}": float(np.mean([each[name] for each in answers])) for name in ("requests", "tokens", "prompts")
    }
    ends = {f"ended {each}": 0.0 for each in sorted({answer["status"] for answer in answers})}
    for answer in answers:
        ends[f"ended {answer['status']}"] += 1 / len(answers)
    return {"sentences": float(len(answers)), "p50 s": cuts[9], "p95 s": cuts[18], **counts, **ends}
