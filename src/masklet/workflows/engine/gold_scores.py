"""How far people agree on gold: each person's labels scored against those of the others, as a model would be."""

from collections.abc import Iterator
from pathlib import Path

from masklet.engine.review.gold import SLOTS, write_gold
from masklet.engine.stages.stage import Project
from masklet.eval.metrics import formatted, metric
from masklet.formats.records import RunLengths
from masklet.formats.saco import SacoFile, SacoPrediction, SacoPredictionWriter, SacoPresence, read_saco
from masklet.workflows.evaluation.concepts import ConceptsJob, evaluate_concepts

FIGURES = ("cgF1", "IL_MCC", "positive_micro_F1")


def people_against_people(project: Project, folder: Path) -> list[str]:
    """Writes the gold files and gives a table: each slot as if it were predicted, the other two as truth.

    Raises: InputError when no pair has all three slots.
    """
    files = dict(zip(SLOTS, write_gold(project, folder), strict=True))
    lines = ["| person in slot | " + " | ".join(metric(name).title for name in FIGURES) + " |", "|---|---|---|---|"]
    for slot, file in files.items():
        predicted = folder / f"as-predicted-{slot}.json"
        document = read_saco(file)
        with SacoPredictionWriter(predicted) as writer:
            for pair in document.pairs.values():
                found = list(_as_predictions(document, pair.id))
                writer.add(SacoPresence(image_id=pair.id, presence=float(bool(found))), iter(found))
        truth = ",".join(str(other) for name, other in files.items() if name != slot)
        job = ConceptsJob(gt=(truth,), pred=(str(predicted),), iou="masks")
        figures = next(iter(evaluate_concepts(job).scores["subsets"].values()))["segm"]
        predicted.unlink()
        lines.append(f"| {slot} | " + " | ".join(formatted(name, figures[name], 1) for name in FIGURES) + " |")
    return lines


def _as_predictions(document: SacoFile, pair: object) -> Iterator[SacoPrediction]:
    for label in document.labels:
        if label.image_id == pair and isinstance(label.segmentation, RunLengths) and label.bbox is not None:
            x, y, width, height = label.bbox
            yield SacoPrediction(
                image_id=label.image_id,
                segmentation=label.segmentation,
                bbox=[x, y, width, height],
                score=1.0,
                area=label.area,
                presence=1.0,
            )
