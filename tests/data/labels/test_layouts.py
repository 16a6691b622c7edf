"""The table of label layouts: each is recognised by what it is, opened through the table, and documented."""

from pathlib import Path

import numpy as np
import pytest
from label_samples import MASK, write_labels

from masklet.data.labels.layouts import LAYOUTS, recognise
from masklet.data.sources import CocoConfig, IndexedSource
from masklet.data.videos import LabelledVideos
from masklet.errors import InputError

DOCUMENTATION = (Path(__file__).parents[3] / "docs/data.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_recognised_opened_and_documented(tmp_path, layout) -> None:
    files = write_labels(tmp_path, layout)
    assert recognise(files.labels) == layout
    source = LAYOUTS[layout].open(files, CocoConfig(split="all"))
    assert isinstance(source, IndexedSource)
    example = source.example(0, np.random.default_rng(0))
    np.testing.assert_array_equal(example.masks, MASK[None] & (layout not in ("voc", "mot")))
    np.testing.assert_allclose(example.boxes_xyxy, [[6, 5, 18, 12]], atol=1e-4)
    assert [query.phrase for query in example.queries] == {"davis": [], "mot": ["object"]}.get(layout, ["mug"])
    assert f"| `{layout}` |" in DOCUMENTATION


@pytest.mark.parametrize("layout", ["ytvis", "davis"])
def test_layouts_of_videos_open_as_videos(tmp_path, layout) -> None:
    opened = LAYOUTS[layout].open_videos
    assert opened is not None
    videos = opened(write_labels(tmp_path, layout), CocoConfig(split="all"))
    assert isinstance(videos, LabelledVideos)
    assert len(videos) == 1


def test_what_no_layout_fits_is_refused_with_their_names(tmp_path) -> None:
    (tmp_path / "labels.json").write_text('{"annotations": [1]}')
    for path in (tmp_path / "labels.json", tmp_path):
        with pytest.raises(
            InputError, match="has no known layout of labels; expected is one of saco, lvis, ytvis, coco"
        ):
            recognise(path)
