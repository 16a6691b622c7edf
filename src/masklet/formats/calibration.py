"""The calibration file: at which presence, score and mask probability a phrase counts, for one model.

`masklet calibrate` writes it from labelled images; segmenting and tracking with that model read it. Plain JSON.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from masklet.errors import InputError
from masklet.files import write_atomically

FORMAT, VERSION = "masklet-calibration", 1
MAX_BYTES = 2**26  # a hundred thousand phrases take ten megabytes


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """Thresholds of a detection. The defaults are those of a model that was not calibrated.

    Below `presence`, in [0, 1], a phrase is absent; a detection has a score above `score`, in (0, 1); and the pixels of
    an object have a probability above `mask`, in (0, 1).
    """

    presence: float | int = 0.0
    score: float | int = 0.5
    mask: float | int = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.presence <= 1:
            raise ValueError(f"presence {self.presence:g} is not in [0, 1]")
        for name in ("score", "mask"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name):g} is not between 0 and 1")


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Thresholds of phrases, found on labelled images for the model of this identity.

    `validation` holds what was measured on images that the thresholds were not chosen on; nothing here reads it.
    """

    model: str
    default: Thresholds
    phrases: Mapping[str, Thresholds] = field(default_factory=dict)
    validation: Mapping[str, Any] = field(default_factory=dict)

    def thresholds(self, phrase: str) -> Thresholds:
        """Those of a phrase, or of all phrases together where it has none of its own."""
        return self.phrases.get(phrase, self.default)

    def check_model(self, identity: str) -> None:
        """Raises: InputError unless it was made for a model of this identity, whatever number type that computes in.

        Thresholds of other weights, or of the same weights at another image size, would be no better than guesses.
        """
        if _without_type(self.model) != _without_type(identity):
            raise InputError(
                f"the calibration was made for the model {self.model}, and this one is {identity}: "
                "make one for it with `masklet calibrate`"
            )

    @property
    def digest(self) -> str:
        """A hash of the content."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """The document of the file."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "model": self.model,
            "default": asdict(self.default),
            "phrases": {phrase: asdict(self.phrases[phrase]) for phrase in sorted(self.phrases)},
            "validation": dict(self.validation),
        }


def _without_type(identity: str) -> str:
    """An identity without its last part, the number type: scores in bfloat16 are those in float32 to two digits."""
    return identity.rpartition("-")[0]


def write_calibration(calibration: Calibration, path: str | PathLike[str]) -> Path:
    """Writes the file, whole or not at all. Raises: InputError when the place cannot be written."""
    return write_atomically(path, json.dumps(calibration.to_json(), indent=1, ensure_ascii=False) + "\n")


def read_calibration(path: str | PathLike[str]) -> Calibration:
    """The calibration of a file. Raises: InputError that names the file, and the phrase and field that are wrong."""
    try:
        with Path(path).open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(f"cannot read the calibration {path}: {error.strerror or error}") from error
    if len(content) > MAX_BYTES:
        raise InputError(f"{path} is larger than any calibration: more than {MAX_BYTES >> 20} MB")
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not a calibration: it cannot be read as JSON ({error})") from error
    return parse_calibration(document, str(path))


def parse_calibration(document: Any, place: str) -> Calibration:
    """The calibration of such a document. Raises: InputError naming `place`, and the phrase and field."""
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise InputError(f"{place} is not a calibration: make one with `masklet calibrate`")
    if document.get("version") != VERSION:
        raise InputError(
            f"{place}: version {document.get('version')!r} of the format is unknown here, only {VERSION} is"
        )
    model = document.get("model")
    if not isinstance(model, str) or not model:
        raise InputError(f"{place}: model is not the identity of a model: {model!r}")
    for name in ("phrases", "validation"):
        if not isinstance(document.get(name), dict):
            raise InputError(f"{place}: {name} is not a table")
    phrases = document["phrases"]
    return Calibration(
        model=model,
        default=_read_thresholds(f"{place}: default", document.get("default")),
        phrases={phrase: _read_thresholds(f"{place}: phrase {phrase!r}", entry) for phrase, entry in phrases.items()},
        validation=document["validation"],
    )


def _read_thresholds(place: str, entry: Any) -> Thresholds:
    """All three must be there, and nothing else."""
    names = ("presence", "score", "mask")
    if not isinstance(entry, dict) or set(entry) != set(names):
        raise InputError(f"{place} must hold {', '.join(names)} and nothing else")
    for name in names:
        if isinstance(entry[name], bool) or not isinstance(entry[name], (int, float)):
            raise InputError(f"{place}: {name} is not a number: {entry[name]!r}")
    try:
        return Thresholds(**entry)
    except ValueError as error:
        raise InputError(f"{place}: {error}") from error
