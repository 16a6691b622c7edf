"""The recipes that ship with masklet, with a line each: the first sentence of their files."""

import re
from pathlib import Path


def describe_recipes() -> dict[str, str]:
    """What each shipped recipe is for, by name."""
    return {path.stem: _first_sentence(path) for path in sorted(Path(__file__).parent.glob("*.yaml"))}


def _first_sentence(path: Path) -> str:
    comment: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("# "):
            break
        comment.append(line.removeprefix("# "))
    return re.split(r"(?<=[.:]) |[.:]$", " ".join(comment))[0].rstrip(".:")
