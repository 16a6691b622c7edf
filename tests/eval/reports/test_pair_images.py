"""Thumbnails: colours where masks are, names that try to leave their folder, pictures and masks that are damaged."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from masklet.eval.analysis.mistakes import judge
from masklet.eval.concepts.outcomes import PairOutcome
from masklet.eval.reports.pair_images import SIDE, beside, draw_pair, find_or_none, to_bytes
from masklet.ops.masks import mask_iou, mask_to_box, rle_encode

BLUE, YELLOW, ORANGE, WHITE, PINK = (64, 160, 255), (250, 215, 60), (255, 105, 40), (255, 255, 255), (255, 70, 220)
GREY = (92, 96, 104)
Area = tuple[int, int, int, int]  # x0, y0, x1, y1 in a picture of 48 x 24 pixels


def mask(area: Area) -> np.ndarray:
    drawn = np.zeros((24, 48), bool)
    x0, y0, x1, y1 = area
    drawn[y0:y1, x0:x1] = True
    return drawn


def pair(truths: list[Area], predictions: list[Area], *, image: str = "a.png", counts: bool = True) -> PairOutcome:
    masks = [np.array([mask(area) for area in side], bool).reshape(-1, 24, 48) for side in (truths, predictions)]
    return PairOutcome(
        pair_id=1,
        phrase="cat",
        image=image,
        subset="one",
        height=24,
        width=48,
        scores=np.full(len(predictions), 0.9),
        iou=mask_iou(*masks).astype(np.float64),
        truth_areas=masks[0].sum(axis=(1, 2)),
        predicted_areas=masks[1].sum(axis=(1, 2)),
        truth_boxes_xyxy=np.array([mask_to_box(m) for m in masks[0]], np.float64).reshape(-1, 4),
        predicted_boxes_xyxy=np.array([mask_to_box(m) for m in masks[1]], np.float64).reshape(-1, 4),
        truth_counts=tuple(map(rle_encode, masks[0])) if counts else (),
        predicted_counts=tuple(map(rle_encode, masks[1])) if counts else (),
    )


def draw(outcome: PairOutcome, folders: list[Path] | None = None) -> Image.Image:
    return draw_pair(outcome, judge(outcome), folders or [])


def colour(picture: Image.Image, x: float, y: float) -> tuple[int, ...]:
    """At a place in pixels of the labelled image, which is a tenth of the thumbnail."""
    found = picture.getpixel((round(10 * x), round(10 * y)))
    assert isinstance(found, tuple)
    return found


def blend(fill: tuple[int, int, int]) -> tuple[int, ...]:
    return tuple(int(0.5 * a + 0.5 * b) for a, b in zip(GREY, fill, strict=True))


@pytest.mark.parametrize("kind", ["masks", "boxes"])
def test_colours_say_what_is_right(kind: str) -> None:
    truths = [(2, 2, 12, 12), (16, 2, 26, 12), (36, 14, 46, 22)]
    predictions = [(2, 2, 12, 12), (16, 2, 26, 8), (2, 16, 12, 22)]
    picture = draw(pair(truths, predictions, counts=kind == "masks"))
    assert picture.width == SIDE
    inside = {(4, 4): BLUE, (18, 4): YELLOW, (4, 18): ORANGE}
    assert {place: colour(picture, *place) for place in inside} == {place: blend(c) for place, c in inside.items()}
    assert colour(picture, 40, 16) == GREY
    assert colour(picture, 7, 2) == colour(picture, 18, 11.9) == WHITE
    assert colour(picture, 40, 14) == colour(picture, 45.8, 18) == PINK
    assert colour(picture, 30, 5) == GREY


def test_the_legend_names_the_colours_that_are_there() -> None:
    one, all_of_them = (
        draw(pair([], [(2, 2, 12, 12)])),
        draw(pair([(2, 2, 9, 9), (20, 2, 26, 12)], [(2, 2, 9, 9), (40, 2, 46, 9)])),
    )
    assert one.height == 240 + 32
    assert all_of_them.height == 240 + 55
    bar = np.array(one)[240:].reshape(-1, 3)
    assert (bar == ORANGE).all(axis=1).any()
    assert not (bar == BLUE).all(axis=1).any()


def test_a_tiny_instance_gets_a_frame() -> None:
    picture = draw(pair([(20, 10, 21, 11)], []))
    assert colour(picture, 20.5, 10.5) == GREY
    assert PINK in {colour(picture, 20.5, y / 10) for y in range(90, 105)}


def test_the_picture_is_below_the_masks(tmp_path: Path) -> None:
    Image.new("RGB", (48, 24), (0, 200, 0)).save(tmp_path / "a.png")
    picture = draw(pair([], [(2, 2, 12, 12)]), [tmp_path / "elsewhere", tmp_path])
    assert colour(picture, 30, 20) == (0, 200, 0)
    assert colour(picture, 4, 4) == tuple(int(0.5 * a + 0.5 * b) for a, b in zip((0, 200, 0), ORANGE, strict=True))


def test_a_picture_that_lies_on_its_side_is_turned_when_labels_say_so(tmp_path: Path) -> None:
    pixels = np.zeros((48, 24, 3), np.uint8)
    pixels[:24] = 200  # the upper half is light; turned to the right it is the right half
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    picture = draw(pair([], []), [tmp_path])
    assert colour(picture, 40, 12) == (200, 200, 200)
    assert colour(picture, 8, 12) == (0, 0, 0)


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n" + b"\0" * 50, b"\xff\xd8\xff\xe0cut"])
def test_damaged_pictures_are_replaced_by_grey(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    assert colour(draw(pair([], []), [tmp_path]), 30, 5) == GREY


def test_a_picture_with_too_many_pixels_is_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (48, 24), (0, 200, 0)).save(tmp_path / "a.png")
    monkeypatch.setattr("masklet.eval.reports.pair_images.MAX_PIXELS", 48 * 24 - 1)
    assert colour(draw(pair([], []), [tmp_path]), 30, 5) == GREY


def test_a_damaged_mask_is_drawn_as_its_box() -> None:
    sound = pair([], [(2, 2, 12, 12)])
    damaged = PairOutcome(**{**vars(sound), "predicted_counts": ("not counts",)})
    assert np.array_equal(np.array(draw(damaged)), np.array(draw(sound)))


@pytest.mark.parametrize(
    "name",
    [
        "../secret.png",
        "a/../../secret.png",
        "..\\secret.png",
        "C:\\secret.png",
        "\\\\host\\x.png",
        "a\0.png",
        "x" * 5000,
        "",
    ],
)
def test_names_stay_in_their_folder(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    (tmp_path / "secret.png").write_bytes(b"x")
    assert find_or_none(name, [folder]) is None


def test_absolute_names_are_opened_inside_the_folder_alone(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    (tmp_path / "below").mkdir()
    assert find_or_none(str(tmp_path / "a.png"), [tmp_path]) == tmp_path / "a.png"
    assert find_or_none(str(tmp_path / "a.png"), [tmp_path / "below"]) is None
    assert find_or_none("a.png", [tmp_path]) == tmp_path / "a.png"


def test_two_pictures_stand_side_by_side() -> None:
    left, right = draw(pair([], [])), draw(pair([], [(2, 2, 12, 12)]))
    both = beside(left, right, ("before", "a name far too long " * 20))
    assert both.size == (2 * SIDE + 6, 24 + right.height)
    assert both.getpixel((SIDE + 6 + 40, 24 + 40)) == colour(right, 4, 4)
    reopened = Image.open(io.BytesIO(to_bytes(both)))
    assert (reopened.format, reopened.size) == ("JPEG", both.size)


def test_of_a_crowd_the_wrong_ones_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("masklet.eval.reports.pair_images.MOST_SHOWN", 1)
    picture = draw(pair([(2, 2, 12, 12)], [(2, 2, 12, 12), (20, 2, 30, 12)]))
    assert colour(picture, 22, 4) == blend(ORANGE)
    assert colour(picture, 4, 4) == GREY
