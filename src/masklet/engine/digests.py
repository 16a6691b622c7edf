"""Names by content: the same thing has the same name in every project and on every machine."""

import hashlib
import json
from typing import Any


def digest_of(*parts: Any) -> str:
    """SHA-256 of plain values as canonical JSON: sorted keys, UTF-8, no spaces. Raises: ValueError for NaN."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def digest_of_bytes(content: bytes) -> str:
    """SHA-256 of bytes."""
    return hashlib.sha256(content).hexdigest()
