import errno
import json
from unittest.mock import Mock

import numpy as np
import pytest
from frame_results import make, rectangle
from PIL import Image

from masklet.errors import InputError
from masklet.formats.davis import palette
from masklet.inference.output import video_export
from masklet.inference.output.frame_export import indexed_mask, mot_lines
from masklet.inference.output.video_export import (
    Journal,
    read_journal,
    write_ytvis,
)
from masklet.ops.masks import rle_decode

SIZE = (40, 60)


def at(column):
    return rectangle(SIZE, column, 5, column + 10, 25)


@pytest.fixture
def results():
    """Object 4 is on all three frames, object 9 (clicked) on the last two, on frames 0, 2 and 4."""
    both = {"ids": [4, 9], "concepts": ["dog", ""]}
    return [
        make([at(0)], [0.5], ids=[4], index=0),
        make([at(2), at(30)], [0.5, 0.6], index=2, **both),
        make([at(4), at(31)], [0.5, 0.6], index=4, **both),
    ]


def write(path, results, keep=0):
    journal = Journal(path, keep)
    for result in results:
        journal.append(result)
    journal.sync()
    journal.close()
    return journal


def test_a_journal_gives_back_what_was_put_in(tmp_path, results):
    path = tmp_path / "new" / "frames.jsonl"
    assert write(path, results).lines == 3
    assert [each.to_json() for each in read_journal(path)] == [each.to_json() for each in results]
    assert len(path.read_text().splitlines()) == 3


def test_a_journal_goes_on_after_the_lines_that_are_kept(tmp_path, results):
    path = tmp_path / "frames.jsonl"
    write(path, results)
    with path.open("ab") as file:
        file.write(b'{"index": 6, "ti')  # what a crash leaves
    assert [each.index for each in read_journal(path)] == [0, 2, 4]
    assert write(path, results[1:2], keep=1).lines == 2
    assert [each.index for each in read_journal(path)] == [0, 2]
    write(path, [])
    assert path.read_bytes() == b""


def test_a_journal_that_is_none_is_said_so(tmp_path, results):
    with pytest.raises(InputError, match=r"cannot read .*frames.jsonl: No such file"):
        list(read_journal(tmp_path / "frames.jsonl"))
    path = tmp_path / "frames.jsonl"
    write(path, results)
    path.write_bytes(path.read_bytes().replace(b'"index":2', b'"index":?'))
    with pytest.raises(InputError, match=r"line 2 of .*frames.jsonl is damaged"):
        list(read_journal(path))
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cannot write .*: part of the path is a file, not a folder"):
        Journal(tmp_path / "file" / "frames.jsonl")


def test_a_full_disk_is_said_so(tmp_path, results):
    journal = Journal(tmp_path / "frames.jsonl")
    journal._file.close()
    journal._file = Mock(write=Mock(side_effect=OSError(errno.ENOSPC, "No space left on device")))
    with pytest.raises(InputError, match=r"cannot write .*frames.jsonl: the disk is full"):
        journal.append(results[0])
    assert journal.lines == 0


def test_mot_counts_frames_and_ids_and_pixels_from_one(results):
    assert mot_lines(results[1]) == ["3,5,3,6,10,20,0.5000,-1,-1,-1", "3,10,31,6,10,20,0.6000,-1,-1,-1"]


@pytest.mark.parametrize("room", [2**28, 1])
def test_ytvis_has_a_mask_or_null_for_each_frame(tmp_path, results, room, monkeypatch):
    monkeypatch.setattr(video_export, "BATCH_BYTES", room)  # one masklet at a time, in the second case
    write(tmp_path / "frames.jsonl", results)
    data = json.loads(write_ytvis(tmp_path / "frames.jsonl", tmp_path / "ytvis.json", "a.mp4").read_text())
    assert data["videos"] == [{"id": 1, "name": "a.mp4", "height": 40, "width": 60, "length": 3, "frames": [0, 2, 4]}]
    assert data["categories"] == [{"id": 1, "name": "dog"}, {"id": 2, "name": "object"}]
    first, second = data["annotations"]
    assert [first[key] for key in ("id", "video_id", "track_id", "category_id", "length")] == [1, 1, 4, 1, 3]
    assert [second[key] for key in ("id", "video_id", "track_id", "category_id", "length")] == [2, 1, 9, 2, 3]
    assert (first["score"], second["score"]) == (0.9, 0.5)
    assert second["segmentations"][0] is second["bboxes"][0] is second["areas"][0] is None
    assert second["bboxes"][1:] == [[30, 5, 10, 20], [31, 5, 10, 20]]
    assert first["areas"] == [200, 200, 200]
    segmentation = first["segmentations"][2]
    np.testing.assert_array_equal(rle_decode(segmentation["counts"], *segmentation["size"]), at(4))


def test_ytvis_of_a_video_in_which_nothing_was_found(tmp_path):
    write(tmp_path / "frames.jsonl", [make([], [])])
    data = json.loads(write_ytvis(tmp_path / "frames.jsonl", tmp_path / "ytvis.json", "a.mp4").read_text())
    assert (data["annotations"], data["categories"], data["videos"][0]["length"]) == ([], [], 1)


def test_the_palette_is_that_of_davis():
    colours = np.reshape(palette(), (256, 3)).tolist()
    assert colours[:4] == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]
    assert colours[7:10] == [[128, 128, 128], [64, 0, 0], [191, 0, 0]]
    assert colours[21:23] == [[128, 64, 128], [22, 22, 22]]
    assert colours[255] == [255, 255, 255]
    assert Image.new("P", (1, 1)).putpalette(palette()) is None


def test_indices_are_given_in_order_of_appearance_and_overlaps_resolved(results):
    indices = {}
    assert set(np.unique(indexed_mask(results[0], indices))) == {0, 1}
    picture = indexed_mask(make([at(0), at(5)], [0.5, 0.6], ids=[4, 9]), indices)
    assert indices == {4: 1, 9: 2}
    assert ((picture == 1).sum(), (picture == 2).sum()) == (100, 200)


def test_more_objects_than_a_byte_can_tell_apart_are_refused():
    indices = {number: number + 1 for number in range(255)}
    assert indexed_mask(make([at(0)], [0.5], ids=[254]), indices).max() == 255
    with pytest.raises(InputError, match="at most 255 objects, and frame 3 has more"):
        indexed_mask(make([at(0)], [0.5], ids=[255]), indices)
