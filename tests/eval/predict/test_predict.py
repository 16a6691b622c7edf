"""Asking a model for pairs: how often an image is encoded, what is kept on disk, and what is refused."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from masklet.config import debug
from masklet.errors import InputError
from masklet.eval.predict.predict import (
    PairPrediction,
    Request,
    find_image,
    predict_pairs,
    write_predictions,
)
from masklet.ops.masks import rle_decode, rle_encode
from masklet.protocols import ImageSegmenter, Segmenter

HEIGHT, WIDTH = 20, 30


@dataclass
class FakeFound:
    """As many instances of each phrase as it has letters, column by column; those cut lower are taller."""

    asked: Sequence[str]
    threshold: float

    def __post_init__(self) -> None:
        every = [(1 / (rank + 1.5), phrase, rank) for phrase in self.asked for rank in range(len(phrase))]
        kept = sorted((each for each in every if each[0] > self.threshold), reverse=True)
        self.scores = np.array([score for score, _, _ in kept], np.float32)
        self.phrases = tuple(phrase for _, phrase, _ in kept)
        self.ranks = [rank for _, _, rank in kept]
        self.boxes = np.array([[rank, 0, rank + 1, 10] for rank in self.ranks], np.float32).reshape(-1, 4)
        self.presence = {phrase: 1 / 3 for phrase in self.asked}

    def __len__(self) -> int:
        return len(self.scores)

    def mask(self, index: int, *, cut: float) -> np.ndarray:
        mask = np.zeros((HEIGHT, WIDTH), bool)
        mask[: round(20 * (1 - cut)), self.ranks[index]] = True
        return mask


@dataclass
class FakeModel(Segmenter, ImageSegmenter):
    identity: str = "fake-8-float32"
    opened: list[str] = field(default_factory=list)
    asked: list[tuple[str, ...]] = field(default_factory=list)
    closed: int = 0

    def open(self, image: Path) -> "FakeModel":
        if image.stat().st_size < 3:
            raise InputError(f"{image} is damaged")
        self.opened.append(image.name)
        return self

    size = (HEIGHT, WIDTH)

    def find(self, phrases: list[str], *, threshold: float, assume_present: bool) -> FakeFound:
        self.assumed = assume_present
        if "unspeakable" in phrases:
            raise InputError("the phrase is too long")
        self.asked.append(tuple(phrases))
        return FakeFound(phrases, threshold)

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    (folder / "deep").mkdir(parents=True)
    for name in ("a.jpg", "b.jpg", "deep/c.jpg"):
        (folder / name).write_bytes(f"picture {name}".encode())
    (folder / "broken.jpg").write_bytes(b"x")
    return folder


def predict(model: FakeModel, images: Path, requests: Sequence[Request], **options: object) -> list[PairPrediction]:
    cache = images.parent / "cache"
    return list(predict_pairs(requests, [images], model, cache, **options))  # type: ignore[arg-type]


def plain(predictions: Sequence[PairPrediction]) -> list[dict]:
    arrays = ("scores", "boxes_xyxy")
    return [{k: v.tolist() if k in arrays else v for k, v in vars(each).items()} for each in predictions]


PAIRS = [
    Request("a.jpg", 1, "cat"),
    Request("deep/c.jpg", 2, "cat"),
    Request("a.jpg", 3, "owl"),
    Request("a.jpg", 4, "cat"),
]


def test_each_image_is_encoded_once_for_all_its_phrases(images: Path) -> None:
    model, calls = FakeModel(), []
    found = predict(model, images, PAIRS, advance=lambda: calls.append(1))
    assert [each.pair_id for each in found] == [1, 3, 4, 2]
    assert model.opened == ["a.jpg", "c.jpg"]
    assert model.asked == [("cat", "owl"), ("cat",)]
    assert (len(calls), model.closed) == (4, 2)


def test_an_answer_holds_the_instances_above_the_floor(images: Path) -> None:
    [found] = predict(FakeModel(), images, [Request("a.jpg", 7, "marmoset")], floor=0.2)
    np.testing.assert_array_equal(found.scores, [0.66667, 0.4, 0.28571, 0.22222])
    np.testing.assert_array_equal(found.boxes_xyxy[2], [2, 0, 3, 10])
    assert (found.presence, found.height, found.width) == (0.33333, HEIGHT, WIDTH)
    assert [rle_decode(counts, HEIGHT, WIDTH).sum() for counts in found.counts] == [10] * 4


def test_masks_are_cut_where_it_is_asked_for(images: Path) -> None:
    [found] = predict(FakeModel(), images, [Request("a.jpg", 7, "cat")], cuts=(0.3, 0.5, 0.7))
    assert {cut: rle_decode(counts[0], HEIGHT, WIDTH).sum() for cut, counts in found.masks.items()} == {
        0.3: 14,
        0.5: 10,
        0.7: 6,
    }


def test_phrases_are_asked_a_few_at_a_time(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("masklet.eval.predict.predict.PHRASES_AT_ONCE", 2)
    model = FakeModel()
    predict(model, images, [Request("a.jpg", i, "x" * (i + 1)) for i in range(5)])
    assert [len(asked) for asked in model.asked] == [2, 2, 1]
    assert len(model.opened) == 1


def test_answers_with_presence_taken_for_granted_are_kept_apart(images: Path) -> None:
    predict(FakeModel(), images, PAIRS)
    again = FakeModel()
    predict(again, images, PAIRS, assume_present=True)
    assert again.assumed
    assert again.opened


def test_what_was_answered_is_not_asked_again(images: Path) -> None:
    first = predict(FakeModel(), images, PAIRS)
    (images / "a.jpg").rename(images / "renamed.jpg")  # the content counts, not the name
    again = FakeModel()
    moved = [
        Request("renamed.jpg" if each.image == "a.jpg" else each.image, each.pair_id, each.phrase) for each in PAIRS
    ]
    assert plain(predict(again, images, moved)) == plain(first)
    assert again.opened == []


def test_a_new_phrase_is_all_that_is_asked(images: Path) -> None:
    predict(FakeModel(), images, PAIRS)
    model = FakeModel()
    predict(model, images, [*PAIRS, Request("a.jpg", 9, "fox")])
    assert model.asked == [("fox",)]
    again = FakeModel()
    predict(again, images, [*PAIRS, Request("a.jpg", 9, "fox")])
    assert again.asked == []


def test_a_run_that_was_stopped_goes_on_with_the_image_it_was_at(images: Path) -> None:
    stream = predict_pairs(PAIRS, [images], FakeModel(), images.parent / "cache")
    assert next(stream).pair_id == 1
    stream.close()  # type: ignore[attr-defined]
    model = FakeModel()
    assert len(predict(model, images, PAIRS)) == 4
    assert model.opened == ["c.jpg"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: content[:0],
        lambda content: content.replace(b'"presence":0.3', b'"presence":0.9'),
        lambda content: b"not\nJSON" + content,
        lambda content: b"\xff" + content,
    ],
)
def test_a_damaged_file_is_computed_anew(images: Path, damage: object) -> None:
    first = predict(FakeModel(), images, PAIRS)
    for path in (images.parent / "cache").rglob("*.json"):
        content = path.read_bytes()
        path.write_bytes(damage(content))  # type: ignore[operator]
        assert path.read_bytes() != content
    model = FakeModel()
    assert plain(predict(model, images, PAIRS)) == plain(first)
    assert len(model.opened) == 2


def test_a_file_that_is_whole_but_holds_something_else_is_computed_anew(images: Path) -> None:
    first = predict(FakeModel(), images, PAIRS)
    for path in (images.parent / "cache").rglob("*.json"):
        document = json.loads(path.read_bytes().split(b"\n", 1)[1])
        document["phrases"]["cat"]["masks"]["0.5"].pop()
        body = json.dumps(document).encode()
        path.write_bytes(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
    assert plain(predict(FakeModel(), images, PAIRS)) == plain(first)


@pytest.mark.parametrize(
    "options", [{"floor": 0.3}, {"cuts": (0.3,)}, {"model": FakeModel(identity="another-8-float32")}]
)
def test_another_floor_cut_or_model_is_another_question(images: Path, options: dict) -> None:
    predict(FakeModel(), images, PAIRS)
    model = options.pop("model", FakeModel())
    predict(model, images, PAIRS, **options)
    assert len(model.opened) == 2


def test_an_image_that_cannot_be_read_is_named_with_a_pair(images: Path) -> None:
    with pytest.raises(InputError, match=r"broken\.jpg \(pair 5\): .* is damaged"):
        predict(FakeModel(), images, [Request("broken.jpg", 5, "cat")])
    with pytest.raises(InputError, match=r"gone\.jpg \(pair 6\): there is no gone\.jpg in .*images"):
        predict(FakeModel(), images, [Request("gone.jpg", 6, "cat")])
    model = FakeModel()
    with pytest.raises(InputError, match=r"a\.jpg \(pair 7\): the phrase is too long"):
        predict(model, images, [Request("a.jpg", 7, "unspeakable")])
    assert model.closed == 1


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/passwd", "deep/../../secret", "..\\secret", "C:\\secret", "", "a\0b"]
)
def test_a_name_that_leads_out_of_the_folder_is_refused(images: Path, name: str) -> None:
    (images.parent / "secret").write_text("secret")
    with pytest.raises(InputError, match=r"leads out of|is no file name"):
        find_image(name, [images])


def test_several_folders_are_looked_through_in_order(images: Path, tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    for name in ("a.jpg", "d.jpg"):
        (tmp_path / "more" / name).write_bytes(b"more")
    assert find_image("a.jpg", [images, tmp_path / "more"]) == images / "a.jpg"
    assert find_image("d.jpg", [images, tmp_path / "more"]) == tmp_path / "more" / "d.jpg"


def test_an_identity_cannot_lead_out_of_the_cache(images: Path) -> None:
    with pytest.raises(ValueError, match="cannot name a folder"):
        predict(FakeModel(identity="../elsewhere"), images, PAIRS)


def test_predictions_are_written_in_the_published_layout(images: Path, tmp_path: Path) -> None:
    requests = [Request("a.jpg", 1, "cat"), Request("a.jpg", 2, "owls"), Request("b.jpg", 3, "")]
    write_predictions(predict_pairs(requests, [images], FakeModel(), tmp_path / "cache"), tmp_path / "predictions.json")
    records = json.loads((tmp_path / "predictions.json").read_text())
    assert [record["image_id"] for record in records] == [1] * 3 + [2] * 4
    assert records[1] == {
        "image_id": 1,
        "category_id": 1,
        "segmentation": {"size": [HEIGHT, WIDTH], "counts": rle_encode(FakeFound(["cat"], 0).mask(1, cut=0.5))},
        "bbox": [0.03333, 0.0, 0.03333, 0.5],
        "score": 0.4,
        "area": round(10 / 600, 7),
        "presence": 0.33333,
    }
    lines = [json.loads(line) for line in (tmp_path / "presence.jsonl").read_text().splitlines()]
    assert lines == [{"image_id": i, "presence": 0.33333} for i in (1, 2, 3)]


def test_no_predictions_are_an_empty_list_and_a_failure_leaves_the_older_file(images: Path, tmp_path: Path) -> None:
    path = tmp_path / "out" / "predictions.json"
    write_predictions([], path)
    assert json.loads(path.read_text()) == []
    requests = [Request("a.jpg", 1, "cat"), Request("broken.jpg", 2, "cat")]
    with pytest.raises(InputError, match=r"broken\.jpg"):
        write_predictions(predict_pairs(requests, [images], FakeModel(), tmp_path / "cache"), path)
    assert json.loads(path.read_text()) == []
    assert sorted(each.name for each in path.parent.iterdir()) == ["predictions.json", "presence.jsonl"]
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot write"):
        write_predictions([], tmp_path / "file" / "predictions.json")


def test_the_model_is_a_segmenter(tmp_path: Path) -> None:
    import torch

    from masklet.checkpoints.weights import Weights
    from masklet.inference.model import make_model
    from masklet.models.detector import Detector

    torch.manual_seed(0)
    weights = Weights(config=debug(), state=dict(Detector(debug()).state_dict()), origin="random")
    model = make_model(weights, torch.device("cpu"), torch.float32)
    Image.new("RGB", (90, 70), "grey").save(tmp_path / "grey.png")
    requests = [Request("grey.png", 1, "cat"), Request("grey.png", 2, "dog")]
    cat, dog = predict_pairs(requests, [tmp_path], model, tmp_path / "cache", floor=0.0)
    result = model.segment(tmp_path / "grey.png", ["cat", "dog"], threshold=0.0)
    for found, phrase in ((cat, "cat"), (dog, "dog")):
        alone = result.for_phrase(phrase)
        np.testing.assert_allclose(found.scores, alone.scores, atol=6e-6)
        np.testing.assert_allclose(found.boxes_xyxy, alone.boxes, atol=6e-4)
        assert found.counts == tuple(map(rle_encode, alone.masks))
    assert len(list(tmp_path.glob(f"cache/{model.identity}/*.json"))) == 1
