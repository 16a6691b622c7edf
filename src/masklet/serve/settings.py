"""What a server is started with: its model, its folder, who may use it, and its limits."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from masklet.workflows.model_choice import ModelChoice

MIB = 2**20
LEAST_MEMORY = 448 * MIB  # some thirty photos of the built-in model
Role = Literal["annotator", "reviewer", "lead"]
LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, kw_only=True)
class Person:
    """Somebody who uses the server. A reviewer may also give verdicts, a lead see the sessions of others."""

    name: str
    role: Role = "lead"

    @property
    def may_review(self) -> bool:
        """Whether verdicts are taken from them."""
        return self.role in ("reviewer", "lead")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one request, one person and the server as a whole may use. Bytes, seconds, and requests a second.

    `memory_bytes` is for all sessions, of which one person may have `person_share`; None means as much as the weights
    of the model take, and at least `LEAST_MEMORY`. `encoding_bytes` on disk are for what left memory.
    """

    image_bytes: int = 64 * MIB
    video_bytes: int = 2048 * MIB
    json_bytes: int = 96 * MIB
    pixels: int = 120_000_000
    frame_pixels: int = 40_000_000  # of a video: an 8K frame has 33 millions
    memory_bytes: int | None = None
    person_share: float | int = 0.75
    person_disk_bytes: int = 8192 * MIB
    encoding_bytes: int = 4096 * MIB
    idle_seconds: float | int = 600.0
    grace_seconds: float | int = 30.0
    rate: float | int = 200.0
    burst: int = 600
    waiting: int = 256
    decoders: int = 2


@dataclass(frozen=True, kw_only=True)
class ServeSettings:
    """A server. `people` are by token; without any, only this machine is served, and everybody is a lead.

    `hosts` are those that images may be fetched from, `private_hosts` those of them that may have private addresses.
    Nothing else is ever fetched. `labels` are what CVAT's detector is offered for.
    """

    folder: Path
    model: ModelChoice = field(default_factory=ModelChoice)
    project: Path | None = None
    host: str = "127.0.0.1"
    port: int = 8765
    people: Mapping[str, Person] = field(default_factory=dict)
    hosts: tuple[str, ...] = ()
    private_hosts: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        return self.host in LOOPBACK
