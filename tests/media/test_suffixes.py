"""The table of image suffixes holds for every reader of folders, and a file has the same pixels for all of them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from masklet.data.doctor import examine
from masklet.data.labels.layouts import LAYOUTS, LabelFiles
from masklet.data.schema import Example
from masklet.data.sources import CocoConfig
from masklet.errors import InputError
from masklet.media.images import read_image
from masklet.media.suffixes import FOREIGN_SUFFIXES, IMAGE_SUFFIXES, find_by_stem, list_images, walk
from masklet.media.video_source import open_frames
from masklet.workflows.manifest import find_images

HEIGHT, WIDTH = 24, 36
ALL = CocoConfig(split="all")


def ramp() -> np.ndarray:
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([x * 7, y * 10, x + y], axis=-1).astype(np.uint8)


def write_sources(folder: Path, name: str) -> dict[str, LabelFiles]:
    """Labels in every layout of folders beside an image called `name` that is there already."""
    mask = Image.fromarray(np.pad(np.full((8, 8), 1, np.uint8), ((4, HEIGHT - 12), (6, WIDTH - 14))))
    for place in ("masks/mug", "labels", "davis/images"):
        (folder / place).mkdir(parents=True, exist_ok=True)
    stem = Path(name).stem
    mask.save(folder / f"masks/mug/{stem}.png")
    mask.save(folder / f"davis/images/{stem}.png")
    (folder / f"labels/{stem}.txt").write_text("0 0.3 0.4 0.2 0.3\n")
    (folder / "data.yaml").write_text("train: images\nnames: [mug]\n")
    return {
        "masks": LabelFiles(labels=folder),
        "yolo": LabelFiles(labels=folder / "data.yaml"),
        "davis": LabelFiles(labels=folder / "davis", images=folder),
    }


def test_the_table_has_every_still_image_that_pillow_opens() -> None:
    Image.init()
    opened = {suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    no_stills = {
        ".mpeg",
        ".mpg",
        ".flc",
        ".fli",
        ".h5",
        ".hdf",
        ".bufr",
        ".grib",
        ".iim",
        ".eps",
        ".ps",
        ".emf",
        ".wmf",
    }
    no_photos = {".blp", ".cur", ".ftc", ".im", ".ftu", ".gbr", ".msp", ".pcd", ".pxr"}  # of games, and of long ago
    assert opened - IMAGE_SUFFIXES <= no_stills | no_photos
    assert not IMAGE_SUFFIXES & FOREIGN_SUFFIXES


def written_suffixes() -> list[str]:
    """Those that Pillow also writes at the size and with the colours of the ramp."""
    Image.init()
    kinds = {suffix: Image.registered_extensions().get(suffix) for suffix in IMAGE_SUFFIXES}
    return sorted(
        suffix for suffix, kind in kinds.items() if kind in Image.SAVE and suffix not in (".xbm", ".icns", ".ico")
    )


@pytest.mark.parametrize("suffix", written_suffixes())
def test_every_suffix_is_taken_wherever_folders_are_read(tmp_path, suffix) -> None:
    """By `masklet segment FOLDER`, frames of a folder, folders of labels, and the doctor that reads through them."""
    (tmp_path / "images").mkdir()
    path = tmp_path / "images" / f"a{suffix.upper()}"
    pixels = Image.fromarray(ramp())
    one_channel = {".pgm": "L", ".pbm": "1", ".pfm": "F"}
    (pixels.convert(one_channel[suffix]) if suffix in one_channel else pixels).save(path)
    expected = read_image(path)
    assert [file.source for file in find_images([str(tmp_path / "images")])] == [path]
    assert list_images(tmp_path / "images") == [path]
    np.testing.assert_array_equal(open_frames(tmp_path / "images").read(0).pixels, expected)
    sources = {kind: LAYOUTS[kind].open(files, ALL) for kind, files in write_sources(tmp_path, path.name).items()}
    for source in sources.values():
        np.testing.assert_array_equal(source.example(0, np.random.default_rng(0)).image, expected)
    assert all(tally.examined == 1 for tally in examine(sources, 112).tallies.values())


def save_kinds(folder: Path) -> dict[str, Path]:
    grey = ramp()[..., 0]
    exif = Image.Exif()
    exif[0x0112] = 6
    images = {
        "float.tif": Image.fromarray(grey.astype(np.float32) / 255),
        "deep.tif": Image.fromarray(grey.astype(np.int32) * 257),
        "deep.png": Image.fromarray(grey.astype(np.uint16) * 257),
        "palette.png": Image.fromarray(ramp()).quantize(9),
    }
    for name, image in images.items():
        image.save(folder / name)
    Image.fromarray(ramp()).save(folder / "turned.jpg", exif=exif)
    return {path.name: path for path in list_images(folder)}


class OneImage:
    """A source that remembers what the doctor was given."""

    def __init__(self, example: Example) -> None:
        self.own = example

    def __len__(self) -> int:
        return 1

    def name(self, index: int) -> str:
        return str(index)

    def sample(self, rng: np.random.Generator) -> Example:
        return self.example(0, rng)

    def example(self, index: int, rng: np.random.Generator) -> Example:
        del index, rng
        return self.own


@pytest.mark.parametrize("name", ["float.tif", "deep.tif", "deep.png", "palette.png", "turned.jpg"])
def test_a_file_has_the_same_pixels_in_use_training_evaluation_and_doctor(tmp_path, name) -> None:
    from masklet.eval.predict.labelled import LabelledImages

    (tmp_path / "images").mkdir()
    path = save_kinds(tmp_path / "images")[name]
    for other in list_images(tmp_path / "images"):
        if other != path:
            other.unlink()
    used = read_image(path)
    assert used.shape == ((WIDTH, HEIGHT, 3) if name == "turned.jpg" else (HEIGHT, WIDTH, 3))
    assert len(np.unique(used)) > 5
    record = f'{{"id": 1, "file_name": "{name}", "height": {used.shape[0]}, "width": {used.shape[1]}}}'
    label = '{"id": 1, "image_id": 1, "category_id": 1, "bbox": [2, 3, 9, 9]}'
    document = f'{{"images": [{record}], "annotations": [{label}], "categories": [{{"id": 1, "name": "mug"}}]}}'
    (tmp_path / "coco.json").write_text(document)
    files = LabelFiles(labels=tmp_path / "coco.json", images=tmp_path / "images")
    trained = LAYOUTS["coco"].open(files, ALL)
    evaluated = LabelledImages(files.labels, files.images)
    np.testing.assert_array_equal(trained.example(0, np.random.default_rng(0)).image, used)
    np.testing.assert_array_equal(evaluated.example(0).image, used)
    np.testing.assert_array_equal(open_frames([path]).read(0).pixels, used)
    both = {"trained": trained, "used": OneImage(evaluated.example(0))}
    held_out = {"again": OneImage(trained.example(0, np.random.default_rng(0)))}
    leaks = [finding.kind for finding in examine(both, 112, held_out=held_out).findings if "leaked" in finding.kind]
    assert leaks == ["leaked"], "the doctor sees the very same pixels in all of them"


def test_images_of_a_folder_are_listed_by_name_and_found_by_stem(tmp_path) -> None:
    for name in ("b.JPG", "a.png", "notes.txt", ".hidden.png", "c[1].tif", "a.b.png"):
        (tmp_path / name).touch()
    assert [path.name for path in list_images(tmp_path)] == ["a.b.png", "a.png", "b.JPG", "c[1].tif"]
    assert find_by_stem(tmp_path, "a") == tmp_path / "a.png"
    assert find_by_stem(tmp_path, "c[1]") == tmp_path / "c[1].tif"
    assert find_by_stem(tmp_path, "notes") is None
    with pytest.raises(InputError, match="is not a folder"):
        list_images(tmp_path / "a.png")


def test_files_below_a_folder_leave_hidden_ones_and_links_to_folders_out(tmp_path) -> None:
    for name in ("b/2.JPG", "a.png", "b/._2.jpg", ".cache/3.png", "b/c/4.png", "notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "b" / "again").symlink_to(tmp_path)
    found = [path.relative_to(tmp_path).as_posix() for path in walk(tmp_path, IMAGE_SUFFIXES)]
    assert found == ["a.png", "b/2.JPG", "b/c/4.png"]
