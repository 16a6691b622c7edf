import io
import json
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch.testing import assert_close

from masklet.errors import InputError
from masklet.media.images import normalise, preprocess, read_image, read_labelled_image, read_numbers

GOLDEN = Path(__file__).parents[1] / "golden"
CASES = json.loads((GOLDEN / "6_preprocess.json").read_text())


def golden_image(name, tensors):
    if f"{name}.image_u8_hwc" in tensors:
        return tensors[f"{name}.image_u8_hwc"].numpy()
    a, b, c, d = CASES["formula"]["parameters"]
    height, width = CASES["images"][name]["height"], CASES["images"][name]["width"]
    y, x, k = np.ogrid[:height, :width, :3]
    return ((x * a + y * b + k * c + (x * y) // d) % 256).astype(np.uint8)


@pytest.fixture(scope="module")
def tensors():
    return load_file(GOLDEN / "6_preprocess.safetensors")


@pytest.mark.parametrize("name", list(CASES["images"]))
def test_preprocessing_equals_the_official_transform(name, tensors):
    result = preprocess(golden_image(name, tensors), CASES["resolution"])
    levels = ((result * 0.5 + 0.5) * 255).round().to(torch.uint8)
    for index, (row, column) in enumerate(CASES["crops"]):
        window = (slice(None), slice(row, row + CASES["crop_size"]), slice(column, column + CASES["crop_size"]))
        assert_close(levels[window], tensors[f"{name}.crop{index}_level_u8"], rtol=0, atol=0)
        if f"{name}.crop{index}" in tensors:
            assert_close(result[window], tensors[f"{name}.crop{index}"], rtol=0, atol=1e-6)
    expected = CASES["images"][name]["detector"]
    assert_close(result.double().mean((1, 2)), torch.tensor(expected["mean"]).double(), rtol=0, atol=1e-6)


def encode(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.fixture
def picture():
    y, x = np.mgrid[:20, :30]
    return np.stack([x * 8, y * 12, (x + y) * 5], axis=-1).astype(np.uint8)


def test_one_picture_is_the_same_from_every_kind_of_source(picture, tmp_path):
    path = tmp_path / "picture.png"
    Image.fromarray(picture).save(path)
    tensor = torch.from_numpy(picture)
    sources = [path, str(path), path.read_bytes(), Image.fromarray(picture), picture, tensor, tensor.permute(2, 0, 1)]
    sources += [tensor.permute(2, 0, 1) / 255, picture / 255, picture.astype(np.uint16) * 257]
    for source in sources:
        np.testing.assert_array_equal(read_image(source), picture)


@pytest.mark.parametrize("kind", [np.int8, np.int16, np.int32, np.int64, np.uint32, np.uint64])
def test_levels_up_to_255_are_levels_in_every_type_of_whole_numbers(picture, kind):
    levels = picture.clip(0, np.iinfo(kind).max).astype(np.uint8)
    np.testing.assert_array_equal(read_image(levels.astype(kind)), levels)
    if np.dtype(kind).kind == "i":
        np.testing.assert_array_equal(read_image(torch.from_numpy(levels.astype(kind)).permute(2, 0, 1)), levels)


def test_whole_numbers_beyond_255_and_uint16_have_16_bits(picture):
    np.testing.assert_array_equal(read_image(picture.astype(np.int32) * 257), picture)
    assert read_image(np.full((4, 4), 200, np.uint16)).max() == 1


def test_files_of_32_bits_hold_levels_and_dark_ones_of_16_bits_stay_dark(tmp_path):
    grey = np.full((4, 6), 200)
    Image.fromarray(grey.astype(np.int32)).save(tmp_path / "levels.tif")
    Image.fromarray(grey.astype(np.uint16)).save(tmp_path / "dark.png")
    assert read_image(tmp_path / "levels.tif").max() == 200
    assert read_image(tmp_path / "dark.png").max() == 1


def test_a_heic_photo_is_named_with_the_extra_that_reads_it(tmp_path):
    (tmp_path / "IMG_1.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    with pytest.raises(InputError, match=r'IMG_1.HEIC.*HEIC.*pip install "masklet\[heic\]"'):
        read_image(tmp_path / "IMG_1.HEIC")


def test_grey_sources_become_three_equal_channels(picture):
    grey = picture[..., 0]
    for source in (grey, grey[..., None], torch.from_numpy(grey), torch.from_numpy(grey)[None], Image.fromarray(grey)):
        np.testing.assert_array_equal(read_image(source), np.repeat(grey[..., None], 3, axis=-1))


def test_exif_orientation_is_applied(picture):
    exif = Image.Exif()
    exif[0x0112] = 6  # stored turned left
    result = read_image(encode(Image.fromarray(picture), exif=exif))
    np.testing.assert_array_equal(result, np.rot90(picture, -1))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_transparency_is_laid_over_white(mode):
    image = Image.new("LA", (3, 2), (0, 0)).convert("RGBA").convert(mode)
    assert read_image(image).min() == 255


def test_a_palette_with_a_transparent_colour_is_laid_over_white(picture):
    image = Image.fromarray(picture).convert("P", palette=Image.Palette.ADAPTIVE, colors=8)
    data = encode(image, transparency=image.getpixel((0, 0)))
    assert read_image(data)[0, 0].tolist() == [255, 255, 255]
    assert read_image(encode(image))[0, 0].tolist() != [255, 255, 255]


def test_sixteen_bits_become_eight():
    levels = (np.arange(12).reshape(3, 4) * 257 * 20).astype(np.uint16)
    expected = np.repeat((np.arange(12).reshape(3, 4, 1) * 20).astype(np.uint8), 3, axis=-1)
    for kind in ("PNG", "TIFF"):
        np.testing.assert_array_equal(read_image(encode(Image.fromarray(levels), kind)), expected)
    np.testing.assert_array_equal(read_image(Image.fromarray(levels.astype(np.int32))), expected)


@pytest.mark.parametrize("scale", [1, 255])
def test_float_images_are_fractions_or_levels(scale):
    image = Image.fromarray(np.array([[0, 0.2, 1]], dtype=np.float32) * scale)
    assert read_image(image)[0, :, 0].tolist() == [0, 51, 255]


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "1", "HSV", "LAB"])
def test_other_colour_spaces_are_read(mode):
    image = Image.new("RGB", (4, 3), "white")
    source = Image.new(mode, (4, 3)) if mode == "LAB" else image.convert(mode)
    assert read_image(source).shape == (3, 4, 3)


def bomb(side):
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b"")]
    body = b"".join(struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + body


def test_a_header_bomb_is_refused_before_decoding_and_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(InputError, match="60000 x 60000 pixels, the limit is 200 megapixels"):
            read_image(bomb(60_000))
    assert Image.MAX_IMAGE_PIXELS is not None


def test_bad_files_are_one_clear_sentence(picture, tmp_path):
    jpeg = encode(Image.fromarray(np.tile(picture, (20, 20, 1))), "JPEG")
    cases = {
        "missing.png": (None, "no such file"),
        "empty.png": (b"", "is empty"),
        "text.png": (b"hello, world", "is not an image"),
        "cut.jpg": (jpeg[: len(jpeg) // 2], "damaged or cut short"),
        "cut.png": (encode(Image.fromarray(picture))[:60], "damaged"),
        "hollow.png": (bomb(100), "damaged"),
    }
    for name, (content, sentence) in cases.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=sentence) as caught:
            read_image(tmp_path / name)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="is a folder"):
        read_image(tmp_path)
    with pytest.raises(InputError, match="not a file name"):
        read_image("a\0b.png")


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        (np.zeros((3, 20, 30), np.uint8), r"shape \[3, 20, 30\]: expected \[height, width, 3\]"),
        (np.zeros((2, 3, 4, 5), np.uint8), "shape"),
        (np.zeros((0, 4, 3), np.uint8), "no pixels"),
        (np.full((2, 2, 3), np.nan, np.float32), "not finite"),
        (np.full((2, 2, 3), 3.0, np.float32), "outside 0..1"),
        (np.full((2, 2, 3), -1, np.int64), "outside 0..65535"),
        (np.zeros((2, 2, 3), np.complex64), "complex64"),
        (torch.full((3, 4, 4), float("inf")), "not finite"),
        (torch.zeros(5, 6, 7, dtype=torch.uint8), "shape"),
        (np.broadcast_to(np.uint8(0), (60_000, 60_000, 3)), "too large"),
        (Image.fromarray(np.array([[np.nan]], dtype=np.float32)), "not finite"),
        (Image.new("RGB", (0, 5)), "no pixels"),
    ],
)
def test_bad_arrays_are_one_clear_sentence(source, sentence):
    with pytest.raises(InputError, match=sentence):
        read_image(source)


def test_preprocessing_takes_read_only_and_strided_pictures(picture):
    view = picture[::-1]
    view.flags.writeable = False
    assert_close(preprocess(view, 14), preprocess(view.copy(), 14))


def test_an_image_stands_upright_unless_it_was_labelled_as_it_is_stored(picture, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise to look at it
    path = tmp_path / "a.png"
    path.write_bytes(encode(Image.fromarray(picture), exif=exif))
    np.testing.assert_array_equal(read_labelled_image(path, (30, 20)), read_image(path))
    np.testing.assert_array_equal(read_labelled_image(path, (20, 30)), picture)
    with pytest.raises(InputError, match=r"a\.png has 30 x 20 pixels, and its labels state 9 x 8"):
        read_labelled_image(path, (8, 9))


def test_a_damaged_exif_block_leaves_the_image_as_it_is(picture):
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encode(Image.fromarray(picture), "JPEG", exif=exif)
    assert b"Exif\0\0MM\0*" in content
    assert read_image(content.replace(b"Exif\0\0MM\0*", b"Exif\0\0MM\0\xff")).shape == (20, 30, 3)


def test_numbers_are_not_colours(picture, tmp_path):
    path = tmp_path / "a.png"
    numbers = picture[..., 0] // 80
    indexed = Image.fromarray(numbers, "P")
    indexed.putpalette([9, 9, 9, 200, 0, 0, 0, 5, 0])
    for image in (Image.fromarray(numbers), indexed, Image.fromarray(numbers.astype(np.uint16))):
        image.save(path)
        np.testing.assert_array_equal(read_numbers(path), numbers)
    Image.fromarray(numbers > 1).save(path)
    np.testing.assert_array_equal(read_numbers(path) > 0, numbers > 1)
    Image.fromarray(picture).save(path)
    with pytest.raises(InputError, match=r"a\.png: one whole number for each pixel is expected, this file has colours"):
        read_numbers(path)


def test_levels_are_scaled_to_plus_minus_one():
    levels = torch.tensor([0, 255], dtype=torch.uint8)[:, None, None, None].expand(2, 3, 4, 4)
    assert normalise(levels)[:, 0, 0, 0].tolist() == [-1, 1]
