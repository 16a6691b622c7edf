"""YAML as people write it: plain values alone, and one sentence about what cannot be read."""

from pathlib import Path
from typing import Any

import yaml

from masklet.errors import InputError


def read_yaml(path: Path) -> Any:
    """The values of a file. Raises: InputError naming the file and, where it is no YAML, the line."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as text in UTF-8") from error
    return parse_yaml(text, str(path))


def parse_yaml(text: str, where: str) -> Any:
    """The values of a text. Raises: InputError beginning with `where`."""
    try:
        return yaml.safe_load(text)
    except (
        yaml.YAMLError,
        ValueError,
        OverflowError,
        RecursionError,
    ) as error:  # the last three: dates, numbers, depth
        mark = getattr(error, "problem_mark", None)
        place = f" at line {mark.line + 1}" if mark else ""
        raise InputError(f"{where}: not readable as YAML{place}") from error
