"""The pictures and clips on which a change of the built-in model, or of anything around it, must not cost quality.

They are drawn anew each time, from seeds that training never sees. `python tests/quality_set.py` writes the predictions
and figures of today to `tests/golden/quality`, which is to be done when a better model ships, and at no other time.
"""

import json
import tempfile
from pathlib import Path

import numpy as np

import masklet
from masklet.data.labels.writers import write_saco
from masklet.data.schema import Example
from masklet.eval.concepts.buckets import Source
from masklet.eval.concepts.concept_run import ConceptEvaluation
from masklet.eval.predict.predict import Request, predict_pairs, write_predictions
from masklet.eval.videos.vos import mean_scores, region_similarity, score_masklet
from masklet.files import write_atomically
from masklet.formats.saco import Subset, read_pairs
from masklet.scenes.layout import SceneConfig
from masklet.scenes.moving.clips import render_clip
from masklet.scenes.scene import render_scene

GOLDEN = Path(__file__).parents[1] / "golden" / "quality"
FIRST_SEED = 2**31 + 500_000
NUM_SCENES, NUM_CLICKED, NUM_CLIPS = 24, 12, 2
SCORE_FLOOR = 0.3  # as in published predictions


def draw_scenes() -> list[Example]:
    """Two thirds ordinary scenes, one third with pairs of a colour and a noun that training never shows."""
    combinations = ["seen", "seen", "unseen"] * NUM_SCENES
    return [
        render_scene(FIRST_SEED + place, SceneConfig(size=224, combinations=combinations[place]))  # type: ignore[arg-type]
        for place in range(NUM_SCENES)
    ]


def load_model() -> masklet.Model:
    """In the number type whose rounding depends least on the machine."""
    return masklet.load("tiny", device="cpu", dtype="float32")


def predict(model: masklet.Model, scenes: list[Example], folder: Path) -> tuple[Path, Path]:
    """Labels of the scenes and what the model says of them, as files."""
    labels = folder / "scenes.json"
    write_saco(scenes, labels, folder / "images")
    requests = [Request(pair.file_name, pair.id, pair.text_input) for pair in read_pairs(labels)]
    predictions = predict_pairs(requests, [folder / "images"], model, folder / "answers", floor=SCORE_FLOOR)
    write_predictions(predictions, folder / "predictions.json")
    return labels, folder / "predictions.json"


def concept_figures(labels: Path, predictions: Path) -> dict[str, float]:
    """Figures of phrases."""
    source = Source(subset=Subset(name="scenes", files=(labels,)), predictions=predictions)
    tally = [step.tally for step in ConceptEvaluation(sources=(source,), kinds=("segm",)).run()][-1]
    metrics = tally.kinds["segm"].metrics()
    names = ("cgF1", "IL_MCC", "positive_micro_F1", "positive_micro_F1@0.5", "recall@0.5")
    return {name: metrics[name] for name in names}


def click_figures(model: masklet.Model, scenes: list[Example]) -> dict[str, float]:
    """Mean IoU of the largest object of some scenes after one click in its middle, and by its box."""
    by_click, by_box = [], []
    for scene in scenes[:NUM_CLICKED]:
        largest = scene.masks[int(scene.masks.sum(axis=(1, 2)).argmax())]
        rows, columns = np.nonzero(largest)
        middle = int(np.hypot(rows - rows.mean(), columns - columns.mean()).argmin())
        with model.open(scene.image) as session:
            clicked = session.click([(columns[middle] + 0.5, rows[middle] + 0.5)], [1], multimask=False)
            box = tuple(map(float, (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)))
            boxed = session.click(box=box)
        by_click.append(region_similarity(largest, clicked.masks[0]))
        by_box.append(region_similarity(largest, boxed.masks[0]))
    return {"IoU of a click": float(np.mean(by_click)), "IoU of a box": float(np.mean(by_box))}


def track_figures(model: masklet.Model) -> dict[str, float]:
    """J&F of the two largest objects of some clips, whose first masks are given."""
    scores = []
    for place in range(NUM_CLIPS):
        config = SceneConfig(size=224, difficulty=0.3, crowd_share=0.0)
        frames = render_clip(FIRST_SEED + place, config, 8).frames
        chosen = np.argsort(-frames[0].masks.sum(axis=(1, 2)))[:2]
        with model.open_video([frame.image for frame in frames]) as session:
            for row in chosen.tolist():
                session.add_mask(row, 0, frames[0].masks[row])
            found = {row: np.zeros((len(frames), 224, 224), dtype=bool) for row in chosen.tolist()}
            for result in session.track():
                for row, mask in zip(result.ids, result.masks, strict=True):
                    found[int(row)][result.index] = mask
        for row, masks in found.items():
            truth = np.stack([frame.masks[row] for frame in frames])
            scores.append(score_masklet(truth[1:], masks[1:]))
    return {"J&F": mean_scores(scores)["J&F"]}


def renew() -> None:
    """Writes what is to be compared with from now on."""
    model, scenes = load_model(), draw_scenes()
    with tempfile.TemporaryDirectory() as folder:
        labels, predictions = predict(model, scenes, Path(folder))
        records = json.loads(predictions.read_text())
        slim = [{name: each[name] for name in ("image_id", "score", "segmentation")} for each in records]
        figures = concept_figures(labels, predictions) | click_figures(model, scenes) | track_figures(model)
    lines = ",\n".join(json.dumps(each, separators=(",", ":")) for each in slim)
    write_atomically(GOLDEN / "predictions.json", f"[{lines}]\n")
    write_atomically(GOLDEN / "figures.json", json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    renew()
