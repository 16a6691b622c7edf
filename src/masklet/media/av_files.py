"""Video files are opened here, whichever PyAV there is."""

from pathlib import Path
from typing import Any

import av
from av.container import InputContainer

# Titles in an unknown encoding must not keep a video from being read. From 19 on PyAV sees to that itself.
_LENIENT: dict[str, Any] = {} if int(av.__version__.split(".")[0]) >= 19 else {"metadata_errors": "replace"}


def open_to_read(path: Path) -> InputContainer:
    """The container of a file. Raises: FFmpegError, OSError."""
    return av.open(str(path.absolute()), **_LENIENT)  # absolute, because 12:30.mp4 would be a protocol
