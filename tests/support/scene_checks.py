"""What holds for every generated or composed example."""

from dataclasses import fields

import numpy as np

from masklet.data.schema import Example


def assert_same(first: Example, second: Example) -> None:
    for field in fields(Example):
        assert np.array_equal(getattr(first, field.name), getattr(second, field.name)), field.name


def assert_labelled(example: Example, *, empty: bool = False) -> None:
    """Masks disjoint, boxes their extents, answers in range and every phrase once."""
    assert example.masks.sum(axis=0).max(initial=0) <= 1
    for mask, box in zip(example.masks, example.boxes_xyxy, strict=True):
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        assert empty or mask.sum() >= 12
        if len(rows):
            assert box.tolist() == [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
    phrases = [query.phrase for query in example.queries]
    assert len(set(phrases)) == len(phrases)
    assert all(0 <= index < len(example.masks) for query in example.queries for index in query.object_index)
