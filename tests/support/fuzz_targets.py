"""What hostile files are read with: each kind of file that masklet takes, a sound example of it, and its readers."""

import io
import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from label_samples import write_labels
from mutators import Mutator, mutate_bytes, mutate_json, mutate_sentence, mutate_text
from PIL import Image
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from video_files import write_video
from video_scenes import model, pictures, weights

from masklet.checkpoints.adapters import read as read_weights
from masklet.checkpoints.weights import load_detector, write
from masklet.data.doctor import examine
from masklet.data.labels.conversion import READERS, WRITERS, LabelExport, find_image, read_any
from masklet.data.labels.layouts import LAYOUTS, LabelFiles, find_labels
from masklet.data.sources import CocoConfig
from masklet.errors import InputError
from masklet.eval.tasks.detection import DetectionTruth
from masklet.formats.calibration import Calibration, Thresholds, read_calibration, write_calibration
from masklet.formats.coco import read_results
from masklet.media.images import read_image, read_numbers
from masklet.media.video_source import open_frames
from masklet.query.english import read_question
from masklet.query.text import from_json, from_text, to_json
from masklet.train.recipes.schema import RECIPES, load_recipe
from masklet.workflows.evaluation.concepts import ConceptsJob, evaluate_concepts

SENTENCES = Path(__file__).parents[1] / "query" / "sentences.tsv"
ALL = CocoConfig(split="all")


@dataclass(frozen=True, kw_only=True)
class Target:
    """A sound file, what damages it, and what reads it; `is_slow` targets are left to the long run."""

    name: str
    file: Path
    mutate: Mutator
    read: Callable[[Path], object]
    is_slow: bool = False


def make_targets(folder: Path) -> list[Target]:
    """Sound files of all kinds, in folders of their own."""
    return [
        *_images(folder),
        *_videos(folder),
        *_labels(folder),
        *_results(folder),
        *_settings(folder),
        *_weights(folder),
        *_questions(folder),
    ]


# --- pictures -----------------------------------------------------------------------------------------------------


def _images(folder: Path) -> list[Target]:
    pixels = np.random.default_rng(0).integers(0, 255, (24, 36, 3)).astype(np.uint8)
    picture, numbers = Image.fromarray(pixels), Image.fromarray(pixels[..., 0].astype(np.uint16) * 200)
    exif = Image.Exif()
    exif[274] = 6  # a quarter turn
    files = {
        "png": lambda out: picture.save(out, "PNG"),
        "deep.png": lambda out: numbers.save(out, "PNG"),
        "palette.png": lambda out: picture.quantize(16).save(out, "PNG", transparency=0),
        "jpg": lambda out: picture.save(out, "JPEG", exif=exif),
        "tiff": lambda out: picture.save(out, "TIFF"),
        "lzw.tiff": lambda out: picture.save(out, "TIFF", compression="tiff_lzw"),
        "gif": lambda out: picture.save(out, "GIF", save_all=True, append_images=[picture.rotate(90)]),
        "webp": lambda out: picture.save(out, "WEBP", lossless=True, save_all=True, append_images=[picture.rotate(9)]),
        "apng.png": lambda out: picture.save(out, "PNG", save_all=True, append_images=[picture.rotate(90)]),
        "bmp": lambda out: picture.save(out, "BMP"),
        "ppm": lambda out: picture.save(out, "PPM"),
    }
    targets = []
    for name, save in files.items():
        buffer = io.BytesIO()
        save(buffer)
        file = _write(folder / f"image {name}" / f"image.{name}", buffer.getvalue())
        targets.append(Target(name=f"image {name}", file=file, mutate=mutate_bytes, read=_read_image))
    return targets


def _read_image(path: Path) -> None:
    """As labels and as a video, which not every image is, and as an image."""
    with suppress(InputError):
        each_of(lambda: read_numbers(path), lambda: list(open_frames(path).frames()))
    read_image(path)


def _videos(folder: Path) -> list[Target]:
    kinds = {"video.mp4": "libx264", "video.webm": "libvpx", "video.avi": "mpeg4", "video.ts": "mpeg2video"}
    targets = []
    for name, codec in kinds.items():
        (folder / name).mkdir(parents=True)
        file = write_video(folder / name / name, 8, codec=codec, b_frames=0)
        targets.append(Target(name=name, file=file, mutate=mutate_bytes, read=_read_video, is_slow=True))
    return targets


def _read_video(path: Path) -> None:
    with open_frames(path) as source:
        each_of(lambda: list(source.frames()), lambda: list(source.frames(reverse=True)), lambda: source.num_frames)


# --- labels -------------------------------------------------------------------------------------------------------


def _labels(folder: Path) -> list[Target]:
    """The labels of each layout, as a source of images, for the doctor, and for conversion."""
    targets = []
    for layout in LAYOUTS:
        home = folder / f"labels {layout}"
        files = write_labels(home, layout)
        for file in _text_files(files.labels) or [next((home / "masks").rglob("*.png"), home / "labels/v/0.png")]:
            mutate = {".json": mutate_json, ".png": mutate_bytes}.get(file.suffix, mutate_text)
            targets.append(
                Target(name=f"{layout} {file.name}", file=file, mutate=mutate, read=_label_reader(files, layout))
            )
    return targets


def _text_files(labels: Path) -> list[Path]:
    """Those of the labels themselves; YOLO's have one for each image beside."""
    if labels.suffix == ".yaml":
        return [labels, *(labels.parent / "labels").glob("*.txt")]
    kinds = (".json", ".xml", ".txt", ".jsonl")
    return [labels] if labels.is_file() else [each for each in sorted(labels.rglob("*")) if each.suffix in kinds]


def _label_reader(files: LabelFiles, layout: str) -> Callable[[Path], object]:
    def train() -> None:
        source = LAYOUTS[layout].open(files, ALL)
        examine({"labels": source}, 112, most=4)
        rng = np.random.default_rng(0)
        each_of(*(lambda index=index: source.example(index, rng) for index in range(min(len(source), 4))))

    def convert() -> None:
        find, out = find_image(files.labels, files.images), files.labels.parent / "converted"
        export = LabelExport(labels=read_any(files, find), folder=out, find_image=find)
        try:
            each_of(*(lambda write=write: write(export) for write in WRITERS.values()))
        finally:
            shutil.rmtree(out, ignore_errors=True)

    def read(_: Path) -> None:
        look = lambda: find_labels(files.labels if files.labels.is_dir() else files.labels.parent)  # noqa: E731
        each_of(train, look, *([convert] if layout in READERS else []))

    return read


def _results(folder: Path) -> list[Target]:
    """Predictions that are scored."""
    coco = write_labels(folder / "results coco", "coco").labels
    saco = write_labels(folder / "results saco", "saco").labels
    mask = json.loads(coco.read_text())["annotations"][0]["segmentation"]
    result = {"image_id": 1, "category_id": 1, "score": 0.9, "bbox": [0.2, 0.2, 0.4, 0.4], "segmentation": mask}
    results = [
        _write(each.parent / "results.json", json.dumps([result, result | {"score": 0.4}]).encode())
        for each in (coco, saco)
    ]

    def score_precision(path: Path) -> None:
        read_results(path, DetectionTruth.read(coco).labels)

    def score_concepts(path: Path) -> None:
        evaluate_concepts(ConceptsJob(gt=(str(saco),), pred=(str(path),), iou="masks"))

    return [
        Target(name="results coco", file=results[0], mutate=mutate_json, read=score_precision),
        Target(name="results saco", file=results[1], mutate=mutate_json, read=score_concepts),
    ]


# --- settings, weights, sessions ----------------------------------------------------------------------------------


def _settings(folder: Path) -> list[Target]:
    calibration = Calibration(model="m-1-float32", default=Thresholds(), phrases={"coin": Thresholds(score=0.7)})
    path = write_calibration(calibration, folder / "calibration" / "calibration.json")
    targets = [Target(name="calibration", file=path, mutate=mutate_json, read=read_calibration)]
    for shipped in ("finetune", "detector", "tracker", "builtin"):
        file = _write(folder / f"recipe {shipped}" / "recipe.yaml", (RECIPES / f"{shipped}.yaml").read_bytes())
        targets += [
            Target(name=f"recipe {shipped}", file=file, mutate=mutate, read=lambda path: load_recipe(str(path)))
            for mutate in (mutate_text, _mutate_yaml)
        ]
    return targets


def _mutate_yaml(rng: np.random.Generator, data: bytes) -> bytes:
    """Another value somewhere in a recipe that is still one."""
    bent = mutate_json(rng, json.dumps(yaml.safe_load(data)).encode())
    return bent.replace(b"\\ud", b"\\u0")  # half characters are no YAML


def _weights(folder: Path) -> list[Target]:
    path = folder / "weights" / "model.safetensors"
    write(weights(), path)
    with model().open_video(pictures(3)) as session:
        session.click(None, 0, [(12.0, 16.0)], [1])
        next(session.track())
        session.save(folder / "session")
    saved = _write(folder / "session of a video" / "session", (folder / "session").read_bytes())

    def load(path: Path) -> None:
        load_detector(read_weights(path))

    def resume(path: Path) -> None:
        with model().resume_video(path, pictures(3)) as session:
            list(session.track())

    return [
        Target(name="weights", file=path, mutate=mutate_bytes, read=load, is_slow=True),
        Target(name="weights' header", file=path, mutate=_mutate_header, read=load, is_slow=True),
        Target(name="session", file=saved, mutate=mutate_bytes, read=resume, is_slow=True),
        Target(name="session's header", file=saved, mutate=_mutate_header, read=resume, is_slow=True),
        Target(name="session's document", file=saved, mutate=_mutate_document, read=resume, is_slow=True),
    ]


def _mutate_header(rng: np.random.Generator, data: bytes) -> bytes:
    """The JSON in front of the tensors, behind its length."""
    length = int.from_bytes(data[:8], "little")
    header = mutate_json(rng, data[8 : 8 + length])
    return len(header).to_bytes(8, "little") + header + data[8 + length :]


def _mutate_document(rng: np.random.Generator, data: bytes) -> bytes:
    """The JSON among the tensors of a session."""
    import torch

    tensors, length = load_tensors(data), int.from_bytes(data[:8], "little")
    document = mutate_json(rng, tensors["document"].numpy().tobytes())
    tensors["document"] = torch.frombuffer(bytearray(document or b" "), dtype=torch.uint8)
    return save_tensors(tensors, json.loads(data[8 : 8 + length])["__metadata__"])


# --- questions ----------------------------------------------------------------------------------------------------


def _questions(folder: Path) -> list[Target]:
    lines = [line.split("\t") for line in SENTENCES.read_text(encoding="utf-8").splitlines()]
    english = _write(folder / "english" / "question.txt", "\n".join(line[0] for line in lines).encode())
    exact = max((line[1] for line in lines), key=len)
    text = _write(folder / "exact" / "question.txt", exact.encode())
    plain = _write(folder / "plain" / "question.json", json.dumps(to_json(from_text(exact))).encode())
    return [
        Target(name="question", file=english, mutate=mutate_sentence, read=lambda path: read_question(_text(path))),
        Target(name="question in text", file=text, mutate=mutate_text, read=lambda path: from_text(_text(path))),
        Target(name="question in JSON", file=plain, mutate=mutate_json, read=_read_plain_question),
    ]


def _read_plain_question(path: Path) -> object:
    try:
        values = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return None  # what is no JSON is not given to us
    return from_json(values)


def _text(path: Path) -> str:
    return path.read_bytes().decode(errors="replace")


def _write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def each_of(*reads: Callable[[], object]) -> None:
    """Calls all, whichever of them refuse with an InputError; that of the first is raised in the end."""
    refusals: list[InputError | None] = []
    for read in reads:
        try:
            read()
            refusals.append(None)
        except InputError as error:
            refusals.append(error)
    if refusals[0] is not None:
        raise refusals[0]
