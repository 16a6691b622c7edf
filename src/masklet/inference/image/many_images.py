"""Many images one after another: those of a folder, a pattern, a list or an iterator, encoded in batches."""

import glob
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

from jaxtyping import UInt8
from numpy import ndarray

from masklet.errors import InputError
from masklet.inference.image.image_result import ImageResult
from masklet.inference.image.image_session import ImageSession
from masklet.inference.predictor import Predictor
from masklet.media.images import ImageSource, read_image
from masklet.media.suffixes import IMAGE_SUFFIXES, is_image, walk

Pixels = UInt8[ndarray, "height width 3"]
Ask = Callable[[ImageSession], ImageResult]
log = logging.getLogger("masklet")


def image_files(source: object) -> list[Path] | None:
    """The images below a folder or of a pattern such as `photos/*.jpg`, by path; None for anything else.

    Raises: InputError when the folder or the pattern holds no image.
    """
    if not isinstance(source, (str, os.PathLike)):
        return None
    name = os.fspath(source)
    if os.path.isdir(name):
        files = list(walk(Path(name), IMAGE_SUFFIXES))
    elif isinstance(name, str) and glob.has_magic(name) and not os.path.exists(name):
        files = [path for path in map(Path, sorted(glob.glob(name, recursive=True))) if is_image(path)]
    else:
        return None
    if not files:
        raise InputError(f"no images in {name}")
    return files


def segment_images(
    predictor: Predictor, sources: Iterable[ImageSource], ask: Ask, batch_size: int, *, skip_unreadable: bool
) -> Iterator[ImageResult]:
    """The result of each image in turn; `batch_size` of them are read and encoded together.

    With `skip_unreadable` an image that cannot be read is left out, and the log says so.
    """
    left = iter(sources)
    while batch := list(islice(left, batch_size)):
        read = [each for each in (_read(source, skip_unreadable) for source in batch) if each is not None]
        features = predictor.encode_all([pixels for pixels, _ in read])
        for (pixels, path), one in zip(read, features, strict=True):
            with ImageSession(predictor, pixels, path, one) as session:
                yield ask(session)


def _read(source: ImageSource, skip_unreadable: bool) -> tuple[Pixels, Path | None] | None:  # noqa: FBT001
    try:
        return read_image(source), source_path(source)
    except InputError as error:
        if not skip_unreadable:
            raise
        log.warning("left out: %s", error)
        return None


def source_path(source: ImageSource) -> Path | None:
    """Where an image comes from, if it comes from a file."""
    return Path(source) if isinstance(source, (str, os.PathLike)) else None
