"""Folders, patterns, lists and iterators of images, one by one and in batches."""

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from random_model import random_weights

from masklet.errors import InputError
from masklet.inference.image.image_result import ImageResult
from masklet.inference.model import Model, make_model


@pytest.fixture(scope="module")
def model() -> Model:
    return make_model(random_weights(), torch.device("cpu"), torch.float32)


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    draw = np.random.default_rng(0)
    return [draw.integers(0, 256, (40 + 10 * each, 60, 3), dtype=np.uint8) for each in range(3)]


@pytest.fixture
def folder(pictures: list[np.ndarray], tmp_path: Path) -> Path:
    (tmp_path / "below").mkdir()
    for name, pixels in zip(("a.png", "b.png", "below/c.png"), pictures, strict=True):
        Image.fromarray(pixels).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


def test_one_gives_one_a_list_a_list_and_the_rest_comes_one_by_one(
    model: Model, pictures: list[np.ndarray], folder: Path
) -> None:
    assert isinstance(model.segment(folder / "a.png", "cat"), ImageResult)
    assert isinstance(model.segment(pictures, "cat"), list)
    for source in (folder, str(folder), str(folder / "*.png"), iter(pictures)):
        assert isinstance(model.segment(source, "cat"), Iterator), source
    found = list(model.segment(str(folder), "cat"))
    assert [result.path for result in found] == [folder / "a.png", folder / "b.png", folder / "below/c.png"]
    assert [result.path.name for result in model.segment(str(folder / "*.png"), "cat") if result.path] == [
        "a.png",
        "b.png",
    ]


def test_nothing_is_read_before_it_is_asked_for(model: Model, pictures: list[np.ndarray]) -> None:
    taken: list[int] = []

    def frames() -> Iterator[np.ndarray]:
        for number in range(10**9):
            taken.append(number)
            yield pictures[0]

    results = model.segment(frames(), "cat", batch_size=2)
    assert taken == []
    next(results)
    assert taken == [0, 1]


def test_batches_give_the_same_objects_as_single_images(model: Model, pictures: list[np.ndarray]) -> None:
    alone = model.segment(pictures, ["cat", "dog"], threshold=0.0)
    for size in (2, 3, 8):
        together = model.segment(pictures, ["cat", "dog"], threshold=0.0, batch_size=size)
        for one, other in zip(alone, together, strict=True):
            assert one.size == other.size
            torch.testing.assert_close(one.detections.presence, other.detections.presence, atol=1e-5, rtol=1e-4)
            np.testing.assert_allclose(one.scores, other.scores, atol=1e-5)


def test_images_of_a_batch_are_encoded_together(
    model: Model, pictures: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    encode = model.detector.encode_images
    monkeypatch.setattr(model.detector, "encode_images", lambda images: sizes.append(len(images)) or encode(images))
    assert len(model.segment(pictures, "cat", batch_size=2)) == 3
    assert sizes == [2, 1]


def test_a_damaged_file_of_a_folder_is_left_out_aloud(
    model: Model, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "aa.png").write_bytes(b"no image")
    with caplog.at_level(logging.WARNING, "masklet"):
        found = list(model.segment(folder, "cat", batch_size=2))
    assert len(found) == 3
    assert "aa.png is not an image" in caplog.text
    with pytest.raises(InputError, match="aa"):
        model.segment([folder / "aa.png"], "cat")


def test_what_holds_no_image_and_odd_batches_are_refused_at_once(model: Model, tmp_path: Path) -> None:
    for source in (tmp_path, str(tmp_path / "*.png")):
        with pytest.raises(InputError, match="no images in"):
            model.segment(source, "cat")
    with pytest.raises(InputError, match="batch_size is a whole number from 1 on"):
        model.segment([], "cat", batch_size=0)
    with pytest.raises(InputError, match="no such file"):
        model.segment(tmp_path / "none.png", "cat")
