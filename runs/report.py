"""Scores the built-in model on what it was never trained on, with every metric that applies, and renews its card.

    make report                  generated images and clips alone, in a few minutes
    make report DATA=DIR         also held-out cut-outs and photos: the folders cutouts, backgrounds and real under DIR,
                                 as the recipe `builtin` reads them

Everything is left in the folder `report`: the held-out data as SA-Co files, predictions, figures and pages. What was
predicted before is not predicted again, so a run that was stopped goes on where it was.
"""

import argparse
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from masklet.cli.display import Display
from masklet.data.labels.coco import CocoSource
from masklet.data.labels.writers import write_saco, write_veval
from masklet.data.schema import Clip, Example
from masklet.data.sources import CocoConfig
from masklet.files import write_atomically
from masklet.scenes.cutouts import CutoutLibrary, compose_scene
from masklet.scenes.layout import SceneConfig
from masklet.scenes.moving.clips import compose_clip, render_clip
from masklet.scenes.scene import render_scene
from masklet.train.recipes.schema import load_recipe
from masklet.workflows.evaluation.clicks import ClicksJob, evaluate_clicks
from masklet.workflows.evaluation.concepts import ConceptsJob, evaluate_concepts
from masklet.workflows.evaluation.evaluate import AskedModel, Evaluation
from masklet.workflows.evaluation.videos import VideoJob, evaluate_video
from masklet.workflows.model_choice import ModelChoice
from masklet.workflows.observer import JobObserver

FIRST_HELD_OUT_SEED = 2**31  # training draws seeds below this
CARD = Path(__file__).parents[1] / "docs" / "model_card.md"
CLIP_FRAMES, CLIP_SIZE = 20, 336
EXAMPLE_ROUNDS, CLICKS = 3, 10


def image_sets(data: Path | None, count: int) -> Iterator[tuple[str, Iterable[Example]]]:
    """Named held-out images."""
    seeds = range(FIRST_HELD_OUT_SEED, FIRST_HELD_OUT_SEED + count)
    yield "generated", map(partial(render_scene, config=SceneConfig()), seeds)
    yield "unseen combinations", map(partial(render_scene, config=SceneConfig(combinations="unseen")), seeds)
    if data is None:
        return
    library = CutoutLibrary.open(data / "cutouts", data / "backgrounds", split="heldout")
    yield "cut-outs", map(partial(compose_scene, library=library, config=SceneConfig()), seeds)
    scenes = load_recipe("builtin").data.sources["real"].scenes
    config = CocoConfig(split="heldout", scenes=scenes, max_negatives=4)
    source = CocoSource(data / "real/annotations.json", data / "real/images", config)
    for name in sorted({record.source for record in source.records}):
        chosen = [index for index, record in enumerate(source.records) if record.source == name]
        yield name, [source.example(index, np.random.default_rng(index)) for index in chosen[:count]]


def clip_sets(data: Path | None, count: int) -> Iterator[tuple[str, Iterable[Clip]]]:
    """Named held-out clips."""
    config = SceneConfig(size=CLIP_SIZE, difficulty=0.6, crowd_share=0.0)
    seeds = range(FIRST_HELD_OUT_SEED, FIRST_HELD_OUT_SEED + count)
    yield "generated clips", (render_clip(seed, config, CLIP_FRAMES) for seed in seeds)
    if data is not None:
        library = CutoutLibrary.open(data / "cutouts", data / "backgrounds", split="heldout")
        yield "cut-out clips", (compose_clip(seed, library, config, CLIP_FRAMES) for seed in seeds)


def score_images(given: argparse.Namespace) -> str:
    """The table of phrases asked of images."""
    rows = []
    for name, examples in image_sets(given.data, given.pictures):
        labels, images = given.out / f"{name}.json", given.out / "images"
        if not labels.exists():
            write_saco(examples, labels, images)
        by = "masks" if all("segmentation" in each for each in read(labels)["annotations"]) else "boxes"
        model, out = asked(given, images), given.out / name
        job = ConceptsJob(gt=(str(labels),), model=model, images=(images,), iou=by, out=out)
        score = run(evaluate_concepts, job)
        figures = score["metrics"]["segm" if by == "masks" else "bbox"]
        row = [name, by, len({each["file_name"] for each in read(labels)["images"]}), score["subsets"][name]["pairs"]]
        row += [percent(figures["cgF1"]), f"{figures['IL_MCC']:.2f}"]
        row += [percent(figures[key]) for key in ("positive_micro_F1", "positive_micro_F1@0.5", "IL_recall")]
        rows.append([*map(str, row), f"{figures['count_MAE']:.2f}"])
    columns = ["cgF1", "IL_MCC", "pmF1", "pmF1@0.5", "IL recall", "count MAE"]
    return table(["held-out data", "by", "images", "pairs", *columns], rows)


def score_users(given: argparse.Namespace) -> str:
    """The table of simulated users, on sets of images that have masks."""
    curves = {}
    for name in ("generated", "cut-outs"):
        labels = given.out / f"{name}.json"
        if labels.exists():
            curves[name] = {}
            for user, mode, rounds in (("clicks", "images", CLICKS), ("examples", "exemplars", EXAMPLE_ROUNDS)):
                job = ClicksJob(
                    gt=labels,
                    images=given.out / "images",
                    mode=mode,
                    rounds=rounds,
                    limit=given.users,
                    model=ModelChoice(name=given.model),
                    out=given.out / f"{name} {user}",
                )
                curves[name][user] = run(evaluate_clicks, job)["figures"]
    return users_table(curves)


def score_clips(given: argparse.Namespace) -> str:
    """The table of phrases followed through clips."""
    rows = []
    for name, clips in clip_sets(given.data, given.clips):
        labels, videos = given.out / f"{name}.json", given.out / "videos"
        if not labels.exists():
            write_veval(clips, labels, videos)
        job = VideoJob(gt=labels, model=asked(given, videos), videos=videos, out=given.out / name)
        figures = run(evaluate_video, job)["metrics"]
        keys = ("demo_cgf1_micro_50_95", "demo_ilmcc_50_95", "demo_positive_micro_f1_50_95")
        hota = (f"all_phrase_{part}" for part in ("HOTA", "DetA", "AssA"))
        shown = [percent(figures[f"video_mask_{key}"]) for key in (*keys, *hota)]
        rows.append([name, str(len(read(labels)["video_np_pairs"])), *shown, f"{figures['video_mask_teta']:.1f}"])
    columns = ["pairs", "cgF1", "VL_MCC x 100", "pmF1", "pHOTA", "pDetA", "pAssA", "TETA"]
    return table(["held-out clips", *columns], rows)


def asked(given: argparse.Namespace, folder: Path) -> AskedModel:
    """The model, with the folder of its input and the cache of its predictions."""
    return AskedModel(choice=ModelChoice(name=given.model), folders=(folder,), cache=given.out / "answers")


def run(workflow: Callable[[Any, JobObserver], Evaluation], job: Any) -> Mapping[str, Any]:
    """The scores of one evaluation."""
    with Display() as display:
        return workflow(job, display).scores


def read(path: Path) -> dict[str, Any]:
    """A document."""
    return json.loads(path.read_text(encoding="utf-8"))


def percent(value: float | None) -> str:
    """A fraction as tables show it."""
    return "-" if value is None else f"{100 * value:.1f}"


def table(columns: list[str], rows: list[list[str]]) -> str:
    """Lines of Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def users_table(curves: dict[str, Any]) -> str:
    """What simulated users reach: clicks on one object, and examples added to a phrase."""
    rows = []
    for name, figures in curves.items():
        iou = figures["clicks"]["mean_IoU"]
        words, alone = figures["examples"]["words"]["cgF1"], figures["examples"]["examples"]["pmF1"]
        clicks = [percent(iou[place]) for place in (0, 2, 4, 9)]
        rows.append([name, *clicks, *map(percent, words), percent(alone[0])])
    columns = ["mIoU after clicks: 1", "3", "5", "10", "cgF1 of words", "+ boxes: 1"]
    columns += [*map(str, range(2, EXAMPLE_ROUNDS + 1)), "pmF1 of one box alone"]
    return table(["held-out data", *columns], rows)


def renew(text: str, name: str, content: str) -> str:
    """The card with other content between the marks of that name."""
    start, end = f"<!-- {name}:start -->", f"<!-- {name}:end -->"
    if start not in text or end not in text:
        raise SystemExit(f"{CARD} has no marks {start} ... {end}")
    return re.sub(f"{re.escape(start)}.*?{re.escape(end)}", lambda _: f"{start}\n{content}\n{end}", text, flags=re.S)


def main() -> None:
    """Scores all sets; the card is rewritten when all data are at hand, because a part of them would leave gaps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path, default=Path("report"))
    parser.add_argument("--pictures", type=int, default=40, help="of each set")
    parser.add_argument("--clips", type=int, default=12, help="of each set")
    parser.add_argument("--users", type=int, default=20, help="images of each set that users are simulated on")
    given = parser.parse_args()
    tables = {"figures": score_images(given), "users": score_users(given), "clips": score_clips(given)}
    card = CARD.read_text(encoding="utf-8")
    for name, content in tables.items():
        print(f"\n{content}")
        card = renew(card, name, content)
    if given.data is not None and given.model == "tiny":
        write_atomically(CARD, card)


if __name__ == "__main__":
    main()
