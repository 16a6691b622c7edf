"""Images in: from every kind of source to `[height, width, 3]` uint8 RGB, and from there to what the model reads.

The only reader of images, in use, training and evaluation: orientation from EXIF is applied, transparency is laid over
white, 16 bits become 8. Sizes are checked in the header, before any pixel is decoded. Errors are one InputError.
`read_labelled_image` stands beside `read_image` as some labels were drawn on images without their EXIF orientation.
"""

import io
import os
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float32, Integer, UInt8
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from masklet.errors import InputError
from masklet.media.suffixes import PHONE_SUFFIXES

MAX_PIXELS = 200_000_000

ImageSource = str | os.PathLike[str] | bytes | Image.Image | np.ndarray | Tensor
Conversion = Callable[[Image.Image, str], np.ndarray]  # of a decoded image; the second is what errors call it

DECODING_ERRORS = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, struct.error, zlib.error)
_pillow_limit = threading.Lock()


def read_image(source: ImageSource) -> UInt8[np.ndarray, "height width 3"]:
    """RGB pixels of a path, the bytes of a file, a PIL image, an array (HWC or HW) or a tensor (CHW, HWC or HW).

    Whole numbers of 8 bits are levels up to 255, of 16 bits (uint16) up to 65535; other whole numbers are levels up to
    255 unless one is larger. Floats are fractions in [0, 1]. One channel is grey, four are RGB and opacity over white.
    Of an animation the first frame is read.

    Raises: InputError naming the source and what is wrong with it.
    """
    if isinstance(source, Image.Image):
        return _decode(source, "the image", _to_upright_rgb)
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Tensor):
        return _from_tensor(source)
    if isinstance(source, bytes):
        return _read_file(io.BytesIO(source), "the image data", len(source), _to_upright_rgb)
    if not isinstance(source, (str, os.PathLike)):
        raise InputError(f"cannot read an image from {type(source).__name__}: give a path, bytes, PIL image or array")
    return _read_path(Path(source), _to_upright_rgb)


def read_labelled_image(path: Path, size: tuple[int, int]) -> UInt8[np.ndarray, "height width 3"]:
    """RGB pixels of an image whose labels state its `size`, height and width.

    It stands upright, as from `read_image`, unless it has the stated size only as it is stored: then it was labelled
    that way. Raises: InputError naming the file, also when it has neither size.
    """

    def as_labelled(image: Image.Image, name: str) -> np.ndarray:
        upright = _upright(image)
        return _to_rgb(upright if (upright.height, upright.width) == size else image, name)

    pixels = _read_path(path, as_labelled)
    if pixels.shape[:2] != size:
        found = f"{pixels.shape[1]} x {pixels.shape[0]}"
        raise InputError(f"{path} has {found} pixels, and its labels state {size[1]} x {size[0]}")
    return pixels


def read_numbers(path: Path) -> Integer[np.ndarray, "height width"]:
    """Pixel values of an image of whole numbers, such as object ids: grey levels, or indices into a palette.

    Raises: InputError naming the file when it is not such an image.
    """
    return _read_path(path, _to_numbers)


def preprocess(image: UInt8[np.ndarray, "height width 3"], size: int) -> Float32[Tensor, "3 size size"]:
    """What the image encoder reads: resized to a square with antialiasing, in bytes, then scaled to [-1, 1].

    The rounding back to bytes is part of the model's contract, and so is the loss of the aspect ratio.
    """
    pixels = torch.from_numpy(np.require(image, requirements=["C", "W"])).permute(2, 0, 1)[None]
    resized = F.interpolate(pixels, size=(size, size), mode="bilinear", antialias=True, align_corners=False)[0]
    return normalise(resized)


def resize_window(
    image: UInt8[np.ndarray, "height width 3"], window: tuple[int, int, int, int], size: tuple[int, int]
) -> UInt8[np.ndarray, "rows columns 3"]:
    """A window (left, top, right, bottom) of an image at another `size`, width and height: the resize of augmentation.

    There are two resizes because each is fixed: `preprocess` is that of the published model, to the last bit, and knows
    no windows; the numbers of published trainings depend on the pixels of this one.
    """
    view = Image.fromarray(image).resize(size, Image.Resampling.BILINEAR, box=window, reducing_gap=2.0)
    return np.asarray(view)


def normalise(levels: UInt8[Tensor, "*image 3 height width"]) -> Float32[Tensor, "*image 3 height width"]:
    """Bytes to [-1, 1]."""
    return (levels.float() / 255 - 0.5) / 0.5


def _read_path(path: Path, convert: Conversion) -> np.ndarray:
    try:
        size = path.stat().st_size
        if path.is_dir():
            raise InputError(f"{path} is a folder, not an image")
        with path.open("rb") as file:
            return _read_file(file, str(path), size, convert)
    except FileNotFoundError as error:
        raise InputError(f"no such file: {path}") from error
    except PermissionError as error:
        raise InputError(f"no permission to read {path}") from error
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:  # a zero byte in the name
        raise error if isinstance(error, InputError) else InputError(f"not a file name: {str(path)!r}") from error


def _read_file(file: io.BytesIO | io.BufferedReader, name: str, size: int, convert: Conversion) -> np.ndarray:
    if size == 0:
        raise InputError(f"{name} is empty (0 bytes)")
    try:
        with open_image(file, name) as image:
            return _decode(image, name, convert)
    except UnidentifiedImageError as error:
        raise InputError(f"{name} is not an image, or of a kind that cannot be read{_missing_reader(name)}") from error
    except InputError:
        raise
    except MemoryError as error:
        raise InputError(f"{name} is too large for the memory that is left") from error
    except DECODING_ERRORS as error:
        raise InputError(f"{name} is damaged: {error}") from error


def open_image(file: Path | io.BytesIO | io.BufferedReader, name: str = "") -> Image.Image:
    """An image whose header was read; photos of phones are opened by a package of their own, where it is installed.

    Pillow warns from 89 megapixels and refuses from 179; here `check_size` is to be asked instead.
    """
    if Path(name).suffix.lower() in PHONE_SUFFIXES:
        with suppress(ImportError):
            from pillow_heif import register_heif_opener  # type: ignore[import-not-found]

            register_heif_opener()
    with without_pillow_limit():
        return Image.open(file)


def _missing_reader(name: str) -> str:
    if Path(name).suffix.lower() not in PHONE_SUFFIXES:
        return ""
    return ': photos of this kind (HEIC) are read after `pip install "masklet[heic]"`'


@contextmanager
def without_pillow_limit() -> Iterator[None]:
    """Images are opened whatever their size, without Pillow's warning or error: callers have limits of their own."""
    with _pillow_limit:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def check_size(name: str, height: int, width: int) -> None:
    """Raises: InputError for an image or frame without pixels or with more than `MAX_PIXELS`."""
    if height < 1 or width < 1:
        raise InputError(f"{name} has no pixels ({width} x {height})")
    if height * width > MAX_PIXELS:
        raise InputError(
            f"{name} is too large: {width} x {height} pixels, the limit is {MAX_PIXELS // 10**6} megapixels"
        )


def _decode(image: Image.Image, name: str, convert: Conversion) -> np.ndarray:
    check_size(name, image.height, image.width)
    try:
        image.load()
    except DECODING_ERRORS as error:
        raise InputError(f"{name} is damaged or cut short: {error}") from error
    return convert(image, name)


def _to_upright_rgb(image: Image.Image, name: str) -> np.ndarray:
    return _to_rgb(_upright(image), name)


def _to_numbers(image: Image.Image, name: str) -> np.ndarray:
    if image.mode not in ("1", "L", "P", "I", "I;16"):
        raise InputError(f"{name}: one whole number for each pixel is expected, this file has colours ({image.mode})")
    return np.array(image.convert("L") if image.mode == "1" else image)


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except DECODING_ERRORS:  # the image is sound, only its EXIF block is not
        return image


def _to_rgb(image: Image.Image, name: str) -> np.ndarray:
    if image.mode == "F":
        values = np.asarray(image)
        return _to_levels(values / 255 if np.isfinite(values).all() and values.max() > 1 else values, name)
    if image.mode.startswith("I"):
        values = np.asarray(image)
        # Older Pillow opens PNG and PNM files of 16 bits as "I"
        has_16_bits = values.dtype.itemsize == 2 or image.format in ("PNG", "PPM")
        return _to_levels(values.astype(np.uint16) if has_16_bits else values, name)
    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.array(image.convert("RGB"))


def _to_levels(values: np.ndarray, name: str) -> np.ndarray:
    return np.repeat(_to_bytes(values, name)[..., None], 3, axis=-1)


def _to_bytes(values: np.ndarray, name: str) -> np.ndarray:
    if values.dtype == np.uint8:
        return values
    if values.dtype == bool:
        return values.astype(np.uint8) * 255
    if values.dtype.kind == "f":
        values = values.astype(np.float32)
        if not np.isfinite(values).all():
            raise InputError(f"{name} holds values that are not finite numbers")
        if values.min() < 0 or values.max() > 1:
            raise InputError(f"{name} holds fractions outside 0..1: from {values.min():g} to {values.max():g}")
        return np.round(values * 255).astype(np.uint8)
    if values.dtype.kind not in "iu":
        raise InputError(f"{name} holds values of type {values.dtype}: expected uint8, uint16 or fractions in 0..1")
    if values.min() < 0 or values.max() > 65535:
        raise InputError(f"{name} holds levels outside 0..65535: from {values.min()} to {values.max()}")
    if values.dtype != np.uint16 and values.max() <= 255:
        return values.astype(np.uint8)
    return np.round(values / 257).astype(np.uint8)


def _from_tensor(tensor: Tensor) -> np.ndarray:
    tensor = tensor.detach().cpu()
    if tensor.ndim == 3 and tensor.shape[0] in (1, 3, 4):
        tensor = tensor.permute(1, 2, 0)
    if tensor.is_floating_point():
        tensor = tensor.float()
    return _from_array(tensor.numpy(), "the tensor", "[3, height, width]")


def _from_array(array: np.ndarray, name: str = "the array", expected: str = "[height, width, 3]") -> np.ndarray:
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[-1] not in (1, 3, 4):
        raise InputError(f"{name} has shape {list(array.shape)}: expected {expected}")
    check_size(name, *array.shape[:2])
    levels = _to_bytes(array, name)
    if levels.shape[-1] == 1:
        return np.repeat(levels, 3, axis=-1)
    if levels.shape[-1] == 4:
        return _to_rgb(Image.fromarray(np.ascontiguousarray(levels)), name)
    return np.ascontiguousarray(levels)
