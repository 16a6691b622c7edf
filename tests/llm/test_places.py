"""Boxes as families of models write them, and the probe that tells them apart."""

import pytest

from masklet.llm.places import Convention, best_convention, boxes_in

SIZES = ((448, 672), (896, 448))
MEANT = ((0.125, 0.25, 0.375, 0.5), (0.5, 0.0625, 0.875, 0.25))


def written(convention: Convention, box: tuple[float, ...], size: tuple[int, int]) -> list[float]:
    height, width = size
    across, down = {"pixels": (width, height), "thousand": (1000, 1000), "hundred": (100, 100), "unit": (1, 1)}[
        convention.scale
    ]
    numbers = [box[0] * across, box[1] * down, box[2] * across, box[3] * down]
    return [numbers[place] for place in (1, 0, 3, 2)] if convention.is_y_first else numbers


@pytest.mark.parametrize("scale", ["pixels", "thousand", "hundred", "unit"])
@pytest.mark.parametrize("is_y_first", [False, True])
def test_the_probe_finds_how_a_model_writes_boxes(scale, is_y_first) -> None:
    convention = Convention(scale=scale, is_y_first=is_y_first)
    answers = [
        (f'```json\n[{{"bbox_2d": {written(convention, box, size)}, "label": "square"}}]\n```', size, box)
        for box, size in zip(MEANT, SIZES, strict=True)
    ]
    found, hit = best_convention(answers)
    assert found == convention
    assert hit == pytest.approx(1, abs=1e-6)


def test_a_model_that_does_not_know_where_things_are_is_found_out() -> None:
    answers = [('{"bbox_2d": [0, 0, 20, 20]}', size, box) for box, size in zip(MEANT, SIZES, strict=True)]
    assert best_convention(answers)[0] is None


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ('{"box_2d": ["10", "20", "30", "40"]}', [(10, 20, 30, 40)]),
        ('{"boxes": [[1, 2, 3, 4], [1, 2, 3, 4], [5, 6, 7, 8]]}', [(1, 2, 3, 4), (5, 6, 7, 8)]),
        ('[{"bbox": [1, 2, 3, 4]}, {"bbox": [5, 6, 7', [(1, 2, 3, 4)]),
        ('{"objects": {"cat": {"box": [1, 2, 3, 4]}}}', [(1, 2, 3, 4)]),
        ('{"bbox_2d": [1, 2, "left", 4]}', []),
        ("[" + ",".join(['{"bbox_2d": [1, 1, 2, 2]}'] * 10_000) + "]", [(1, 1, 2, 2)]),
    ],
)
def test_boxes_are_read_with_tolerance(reply, expected) -> None:
    assert boxes_in(reply) == expected


def test_boxes_are_turned_clamped_or_dropped() -> None:
    thousand = Convention(scale="thousand")
    assert thousand.box([300, 400, 100, 200], (10, 10)) == pytest.approx((0.1, 0.2, 0.3, 0.4))
    assert thousand.box([-10, 0, 1010, 500], (10, 10)) == (0, 0, 1, 0.5)
    assert thousand.box([0, 0, 1100, 500], (10, 10)) is None
    assert thousand.box([100, 100, 100, 500], (10, 10)) is None
    assert thousand.box([float("nan"), 0, 1, 1], (10, 10)) is None
