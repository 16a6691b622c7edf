"""The models that have a name: where their files are, and how the published one is fetched."""

import os
import socket
import threading
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from urllib.parse import urlsplit

from masklet.errors import InputError

BUILT_IN, PUBLISHED = "tiny", "sam3"
WAIT_SECONDS = 4.0
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
    from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError

    here = try_to_load_from_cache(HUB_REPOSITORY, HUB_FILE)
    if isinstance(here, str):
        return Path(here)
    page = f"https://huggingface.co/{HUB_REPOSITORY}"
    if not _answers(constants.ENDPOINT):
        raise InputError(
            f"cannot reach {constants.ENDPOINT} within {WAIT_SECONDS:g} s: without a network, copy the file from "
            "another machine and give its path, or use the built-in model (tiny)"
        )
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


def _answers(address: str) -> bool:
    """Whether a server takes connections; the client that fetches would try for half a minute before it says no."""
    if urllib.request.getproxies():  # a proxy answers in its place, and names may be known to it alone
        return True
    parts = urlsplit(address)
    port = parts.port or (80 if parts.scheme == "http" else 443)
    answered = threading.Event()

    def connect() -> None:
        with suppress(OSError), socket.create_connection((parts.hostname, port), timeout=WAIT_SECONDS):
            answered.set()

    threading.Thread(target=connect, daemon=True).start()  # as looking up the name cannot be given a limit
    return answered.wait(WAIT_SECONDS)


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
