"""The one table of image suffixes, and the readers of folders that use it; a new kind of image is added here."""

import glob
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from masklet.errors import InputError
from masklet.files import natural_order

PHONE_SUFFIXES = frozenset({".heic", ".heif", ".hif"})  # read by the extra `heic`, see media.images
MOVING_SUFFIXES = frozenset({".gif"})  # images that open as videos where a video is expected
ANIMATED_SUFFIXES = frozenset({".png", ".apng", ".webp", ".avif", ".avifs"})  # those that do when they have frames
_STILLS = (
    ".jpg .jpeg .jpe .jfif .png .apng .webp .gif .bmp .dib .tif .tiff .avif .avifs .jp2 .j2k .j2c .jpc .jpf .jpx "
    ".ppm .pgm .pbm .pnm .pfm .tga .icb .vda .vst .ico .icns .pcx .dcx .psd .sgi .rgb .rgba .bw .qoi .dds .xbm .xpm "
    ".ras .fits .fit"
)
_FOREIGN = (
    ".jxl .svg .svgz .eps .ai .pdf .exr .hdr .djvu .dcm .nii .wmf .emf .xcf .kra .dng .cr2 .cr3 .crw .nef .nrw .arw "
    ".srf .sr2 .raf .orf .rw2 .pef .srw .x3f .raw .3fr .iiq"
)
IMAGE_SUFFIXES = PHONE_SUFFIXES | frozenset(_STILLS.split())
FOREIGN_SUFFIXES = frozenset(_FOREIGN.split())  # images that nothing here reads; folders that hold some are told so


def is_image(path: Path) -> bool:
    """Whether the name is that of an image; hidden files are none."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not is_hidden(path)


def is_hidden(path: Path) -> bool:
    """Whether the name says so by its dot, as those do that macOS leaves beside files on foreign disks (`._a.jpg`)."""
    return path.name.startswith(".")


def list_images(folder: Path) -> list[Path]:
    """The image files of a folder, in natural order of their names. Raises: InputError when it is not a folder."""
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder")
    return sorted((path for path in folder.iterdir() if is_image(path)), key=natural_order)


def walk(folder: Path, suffixes: Collection[str]) -> Iterator[Path]:
    """The files below a folder with one of the suffixes (small letters), by path; hidden files and folders are none."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if is_hidden(path):
            continue
        if path.is_dir():
            yield from walk(path, suffixes) if not path.is_symlink() else ()  # which may lead in circles
        elif path.suffix.lower() in suffixes:
            yield path


def walk_folders(folder: Path, levels: int) -> Iterator[Path]:
    """The folders below a folder, so many levels deep, without hidden ones and links."""
    for path in sorted(folder.iterdir()) if levels else ():
        if path.is_dir() and not is_hidden(path) and not path.is_symlink():
            yield path
            yield from walk_folders(path, levels - 1)


def count_kinds(paths: Iterable[Path]) -> str:
    """How many files of each suffix there are, in words: "2 .svg, 1 .cr2"."""
    counts = Counter(path.suffix.lower() for path in paths)
    return ", ".join(f"{count} {suffix}" for suffix, count in counts.most_common())


def find_by_stem(folder: Path, stem: str) -> Path | None:
    """The image of this name with any suffix; of several, the first by name."""
    paths = sorted(folder.glob(f"{glob.escape(stem)}.*"))
    return next((path for path in paths if is_image(path) and path.stem == stem), None)
