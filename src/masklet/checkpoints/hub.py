"""The models that have a name: where their files are, and how the published one is fetched."""

import os
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from masklet.errors import InputError

BUILT_IN, PUBLISHED = "tiny", "sam3"
HUB_REPOSITORY, HUB_FILE = "facebook/sam3", "model.safetensors"


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """A line of `masklet models`; `location` is None for a model that is not on this machine."""

    name: str
    size_mb: float | None
    location: Path | None
    note: str


def find(name_or_path: str | os.PathLike[str]) -> Path:
    """The file behind a model's name or a path; fetches the published weights when they are asked for by name."""
    if str(name_or_path) == BUILT_IN:
        return Path(str(files("masklet") / "assets" / "tiny.safetensors"))
    if str(name_or_path) == PUBLISHED:
        return fetch(PUBLISHED)
    path = Path(name_or_path)
    if not path.exists():
        raise InputError(f"no model {str(name_or_path)!r}: give tiny, sam3 or the path of a weight file")
    return path


def fetch(name: str) -> Path:
    """The file of a model by name, downloaded when it is not here yet.

    Raises: InputError that says exactly what to do when access is refused or there is no network.
    """
    if name == BUILT_IN:
        return find(BUILT_IN)
    if name != PUBLISHED:
        raise InputError(f"no model {name!r} to fetch: there are {BUILT_IN} and {PUBLISHED}")
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError

    page = f"https://huggingface.co/{HUB_REPOSITORY}"
    try:
        return Path(hf_hub_download(HUB_REPOSITORY, HUB_FILE))
    except GatedRepoError as error:
        raise InputError(
            f"the SAM 3 weights need Meta's permission: ask for it at {page}, then run `hf auth login` and try again; "
            "if it is refused, the built-in model (tiny) and any copy you may use (masklet.load(PATH)) still work"
        ) from error
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise InputError(
            f"cannot reach {page} ({type(error).__name__}): with the file on another machine, copy it and give its path"
        ) from error


def describe_models() -> list[ModelInfo]:
    """The models that can be asked for by name, and where their files are."""
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(HUB_REPOSITORY, HUB_FILE)
    published = Path(cached) if isinstance(cached, str) else None
    rows = (
        (BUILT_IN, find(BUILT_IN), "built in, trained by this project"),
        (PUBLISHED, published, "published by Meta under the SAM License; `masklet models fetch sam3`"),
    )
    return [
        ModelInfo(name=name, size_mb=place and round(place.stat().st_size / 1e6, 1), location=place, note=note)
        for name, place, note in rows
    ]
