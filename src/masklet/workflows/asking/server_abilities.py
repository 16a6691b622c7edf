"""What language-model servers can do, found out once a day and kept beside other caches of the user."""

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import masklet
from masklet.agent.probe_images import probe_images
from masklet.files import write_atomically
from masklet.llm.places import Convention
from masklet.llm.probe import Abilities, probe
from masklet.llm.server import ChatServer

GOOD_FOR = 24 * 3600.0  # seconds; a server may be started anew with another model under the same name
MOST_SERVERS = 100


def known_abilities(server: ChatServer) -> Abilities:
    """What the server can do, as it was found out today, else by asking it. Nothing is raised."""
    kept = _kept().get(_key(server))
    found = None if kept is None else _read(kept)
    return fresh_abilities(server) if found is None else found


def fresh_abilities(server: ChatServer, told: Callable[[str], None] = lambda _: None) -> Abilities:
    """What the server can do, by asking it; kept where the agent can use it."""
    found = probe(server, probe_images(), told)
    kept = _kept()
    kept.pop(_key(server), None)
    if found.way is not None:
        kept[_key(server)] = {"at": time.time(), **asdict(found)}
    try:
        _file().parent.mkdir(parents=True, exist_ok=True)
        write_atomically(_file(), json.dumps(dict(list(kept.items())[-MOST_SERVERS:])))
    except OSError:  # a home that cannot be written costs a few requests, no more
        pass
    return found


def _file() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "masklet" / "servers.json"


def _key(server: ChatServer) -> str:
    return f"{server.url} {server.model} {masklet.__version__}"


def _kept() -> dict[str, Any]:
    try:
        values = json.loads(_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def _read(kept: Any) -> Abilities | None:
    """None where it is too old, or written by something else."""
    try:
        if not 0 <= time.time() - float(kept["at"]) < GOOD_FOR:
            return None
        convention = kept["convention"]
        return Abilities(
            way=kept["way"],
            sees=bool(kept["sees"]),
            convention=None if convention is None else Convention(**convention),
            hit=float(kept["hit"]),
            notes=tuple(map(str, kept["notes"])),
        )
    except (KeyError, TypeError, ValueError):
        return None
