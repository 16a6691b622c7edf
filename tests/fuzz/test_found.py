"""What damaged files brought to light, each with its right value."""

from pathlib import Path

import pytest
from PIL import Image

from masklet.errors import InputError
from masklet.files import write_atomically
from masklet.formats.coco import read_coco
from masklet.media import images
from masklet.media.video_source import open_frames
from masklet.train.recipes.schema import load_recipe


def test_a_message_is_one_line_whatever_it_tells() -> None:
    assert str(InputError("no setting 'a\n  b'\r\nhere")) == "no setting 'a b' here"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe", "cannot be read as text in UTF-8"),
        (b"phases: [{", "not readable as YAML at line 1"),
        (b"base: [1]", r"base: is \[1\]; the name of a recipe is expected"),
        (b"base: recipe", "base: leads back to this recipe"),
        (b"base: " + b"x" * 5000, "no recipe"),
        (b"base: finetune\ndata: {sources: {mine: {kind: []}}}", "the recipe does not fit"),
    ],
)
def test_broken_recipes_are_told(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        load_recipe(str(path))


def test_a_broken_override_is_told() -> None:
    with pytest.raises(InputError, match="override 'seed=\\[1': not readable as YAML"):
        load_recipe("finetune", ["seed=[1"])


def test_what_touches_a_value_at_the_end_of_a_file_is_not_taken_for_it(tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    path.write_text('{"images": 20[{"id": 1}]}')
    with pytest.raises(InputError, match="image 0: it: is 20; an object is expected"):
        read_coco(path)


@pytest.mark.parametrize("name", ["a\0b", "a\ud800b"])
def test_names_that_no_file_can_have_are_not_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="not a file name"):
        write_atomically(tmp_path / name, b"")


def test_an_animation_too_large_is_refused_by_our_own_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (20, 20)).save(tmp_path / "a.webp")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)  # Pillow's, which raises an error of its own
    monkeypatch.setattr(images, "MAX_PIXELS", 100)
    with pytest.raises(InputError, match="is too large: 20 x 20 pixels"):
        open_frames(tmp_path / "a.webp")


def test_an_image_for_which_there_is_no_memory_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    Image.new("RGB", (20, 20)).save(tmp_path / "a.png")
    monkeypatch.setattr(images, "_decode", fail)
    with pytest.raises(InputError, match="too large for the memory that is left"):
        images.read_image(tmp_path / "a.png")
