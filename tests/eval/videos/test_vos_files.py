"""J&F of folders and files: the golden masklets as pictures, which frames count, and what is missing."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import video_documents as vd
from PIL import Image

from masklet.errors import InputError
from masklet.eval.videos.vos_files import find_videos, score_followed, score_objects
from masklet.ops.masks import rle_decode

GOLDEN = json.loads((Path(__file__).parents[2] / "golden/video_metrics/jf.json").read_text())["masklets"]


def write_pictures(folder: Path, frames: Mapping[str, np.ndarray]) -> None:
    folder.mkdir(parents=True)
    for name, ids in frames.items():
        picture = Image.fromarray(ids.astype(np.uint8))
        picture.putpalette([value for colour in range(256) for value in (colour, 0, 255 - colour)])
        picture.save(folder / name)


def ids(*masks: np.ndarray) -> np.ndarray:
    """A picture on which the first mask is object 1, the next object 2, and so on; later ones are in front."""
    picture = np.zeros((vd.HEIGHT, vd.WIDTH), np.uint8)
    for number, mask in enumerate(masks, start=1):
        picture[mask] = number
    return picture


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """One video of four frames with two objects, followed perfectly but for the second on the third frame."""
    truth, predicted = tmp_path / "truth", tmp_path / "predicted"
    whole = {f"{frame:05d}.png": ids(vd.square(2), vd.square(12)) for frame in range(4)}
    write_pictures(truth / "bear", whole)
    write_pictures(predicted / "bear", whole | {"00002.png": ids(vd.square(2))})
    return truth, predicted


def test_golden_masklets_as_pictures(tmp_path: Path) -> None:
    for side in ("gt", "pred"):
        for number, masklet in enumerate(GOLDEN):
            masks = [rle_decode(record["counts"], *record["size"]) for record in masklet[side]]
            frames = {f"{frame:05d}.png": mask * 7 for frame, mask in enumerate(masks)}
            write_pictures(tmp_path / side / f"video-{number}", frames)
    videos = find_videos(tmp_path / "gt", tmp_path / "pred", all_frames=True)
    assert [video.name for video in videos] == [f"video-{number}" for number in range(len(GOLDEN))]
    for objects, masklet in zip(score_followed(videos), GOLDEN, strict=True):
        np.testing.assert_allclose(objects[7].region, masklet["J"], rtol=0, atol=1e-12)
        np.testing.assert_allclose(objects[7].boundary, masklet["F"], rtol=0, atol=1e-12)
    inner = score_followed(find_videos(tmp_path / "gt", tmp_path / "pred"), processes=2)
    np.testing.assert_allclose(inner[0][7].region, GOLDEN[0]["J"][1:-1], rtol=0, atol=1e-12)


def test_an_object_that_is_missing_on_a_picture_is_empty_there(folders: tuple[Path, Path]) -> None:
    (video,) = find_videos(*folders)
    scores = score_objects(video)
    assert scores[1].region.tolist() == scores[1].boundary.tolist() == [1, 1]
    assert scores[2].region.tolist() == scores[2].boundary.tolist() == [1, 0]
    (video,) = find_videos(*folders, all_frames=True)
    assert score_objects(video)[2].region.tolist() == [1, 1, 0, 1]


def test_an_object_that_comes_later_is_followed_from_the_start(folders: tuple[Path, Path]) -> None:
    """Where it is not there and not predicted, it is right."""
    (folders[0] / "bear/00000.png").unlink()
    write_pictures(folders[0] / "new", {"00000.png": ids(vd.square(2))})
    (folders[0] / "new/00000.png").rename(folders[0] / "bear/00000.png")
    (folders[0] / "new").rmdir()
    (video,) = find_videos(*folders, all_frames=True)
    assert score_objects(video)[2].region.tolist() == [0, 1, 0, 1]


def test_void_is_background(folders: tuple[Path, Path]) -> None:
    frames = {f"{frame:05d}.png": ids(vd.square(2), vd.square(12)) for frame in range(4)}
    frames["00001.png"][0, 0] = 255
    for folder in folders:
        for path in (folder / "bear").iterdir():
            path.unlink()
        (folder / "bear").rmdir()
        write_pictures(folder / "bear", frames)
    (video,) = find_videos(*folders)
    assert sorted(score_objects(video)) == [1, 2]


def _shrink(path: Path) -> None:
    Image.fromarray(np.zeros((5, 6), np.uint8)).save(path)


def _colour(path: Path) -> None:
    Image.fromarray(np.zeros((vd.HEIGHT, vd.WIDTH, 3), np.uint8)).save(path)


def _stranger(path: Path) -> None:
    Image.fromarray(np.full((vd.HEIGHT, vd.WIDTH), 9, np.uint8)).save(path)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:60])


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (Path.unlink, "bear has no 00001.png"),
    "other size": (_shrink, "00001.png is 5 x 6 pixels, and the truth is 20 x 30"),
    "colours": (_colour, "00001.png: one whole number for each pixel is expected"),
    "unknown object": (_stranger, "00001.png: the truth has no object 9"),
    "damaged": (_cut, "00001.png is damaged"),
}


@pytest.mark.parametrize(("change", "message"), WRONG.values(), ids=WRONG)
def test_a_picture_that_cannot_be_scored_is_named(
    folders: tuple[Path, Path], change: Callable[[Path], object], message: str
) -> None:
    change(folders[1] / "bear/00001.png")
    with pytest.raises(InputError, match=re.escape(message)):
        score_followed(find_videos(*folders))


def test_what_cannot_be_followed_at_all_is_named(folders: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match="none has no folder bear"):
        find_videos(folders[0], tmp_path / "none")
    with pytest.raises(InputError, match="holds no folders"):
        find_videos(tmp_path / "none", folders[1])
    write_pictures(folders[0] / "short", {"0.png": ids(vd.square(1)), "1.png": ids(vd.square(1))})
    (folders[1] / "short").mkdir()
    with pytest.raises(InputError, match="short has 2 frames, and the first and the last do not count"):
        find_videos(*folders)
    write_pictures(tmp_path / "empty/bear", {f"{frame}.png": ids() for frame in range(3)})
    with pytest.raises(InputError, match="bear: the truth has no object"):
        score_followed(find_videos(tmp_path / "empty", tmp_path / "empty"))
    file = tmp_path / "file.json"
    file.write_text("{}")
    with pytest.raises(InputError, match="two folders or two files"):
        find_videos(folders[0], file)


def test_files_are_scored_as_folders_are(folders: tuple[Path, Path], tmp_path: Path) -> None:
    """An object that is missing in a frame or altogether is empty; ids are those of annotations."""
    first, second = [vd.square(2)] * 4, [vd.square(12)] * 4
    truth = vd.document([vd.truth(0, 1, first), vd.truth(0, 1, second)], lengths=(4, 4))
    predicted = vd.document([vd.truth(0, 1, first), vd.truth(0, 1, [*second[:2], None, second[3]])], lengths=(4, 4))
    paths = tmp_path / "truth.json", tmp_path / "predicted.json"
    for path, document in zip(paths, (truth, predicted), strict=True):
        path.write_text(json.dumps(document))
    (video,) = find_videos(*folders)
    (same,) = find_videos(*paths)
    assert same.name == "video_0"
    expected, scores = score_objects(video), score_objects(same)
    assert {each: score.region.tolist() for each, score in scores.items()} == {1: [1, 1], 2: [1, 0]}
    assert [score.boundary.tolist() for score in scores.values()] == [
        score.boundary.tolist() for score in expected.values()
    ]
    del predicted["annotations"][1]
    paths[1].write_text(json.dumps(predicted))
    assert score_objects(find_videos(*paths)[0])[2].region.tolist() == [0, 0]


def test_files_of_other_videos_or_objects_are_told(tmp_path: Path) -> None:
    paths = tmp_path / "truth.json", tmp_path / "predicted.json"
    masks = [vd.square(2)] * 3
    paths[0].write_text(json.dumps(vd.document([vd.truth(0, 1, masks)])))
    wrong = {
        "video 0 is 4 x 20 x 30 frames and pixels, and the truth 3 x 20 x 30": vd.document([], lengths=(4,)),
        "video 0: the truth has no annotation 2": vd.document([vd.truth(0, 1, masks), vd.truth(0, 1, masks)]),
    }
    for message, document in wrong.items():
        paths[1].write_text(json.dumps(document))
        with pytest.raises(InputError, match=re.escape(message)):
            find_videos(*paths)
    damaged = vd.document([vd.truth(0, 1, masks)])
    damaged["annotations"][0]["segmentations"][1]["counts"] = "1"
    paths[1].write_text(json.dumps(damaged))
    with pytest.raises(InputError, match=re.escape("annotation 1: segmentations.1.counts: ")):
        score_objects(find_videos(*paths)[0])
