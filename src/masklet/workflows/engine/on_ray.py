"""The same run on a Ray cluster: actors hold the model and pull leases from the ledger; Ray knows nothing of the work.

Whatever dies, the ledger knows what is done: at most the units at hand are done again. On one machine the ledger is the
project's SQLite file; on several it is PostgreSQL, and photos and project lie where every machine sees them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from masklet.engine.ledger.units import Units
from masklet.engine.runner import Runner
from masklet.engine.stages.stage import Project, Stage
from masklet.errors import InputError

MOST_LOST = 3  # actors, in place of each of which another is started


@dataclass(frozen=True, kw_only=True)
class Work:
    """What an actor needs to begin: made anew in its own process, so that no connection is shared.

    `open_project` and `open_stages` are called there. `gpus` and `cpus` are of each actor.
    """

    open_project: Callable[[], Project]
    open_stages: Callable[[Project], Sequence[Stage]]
    run_id: str
    actors: int = 2
    cpus: float = 1.0
    gpus: float = 0.0


@dataclass(frozen=True, kw_only=True)
class RayResult:
    """How many actors ended by themselves, and how many were lost with their nodes and replaced."""

    finished: int
    lost: int


def run_on_ray(work: Work) -> RayResult:
    """Runs on the cluster that `ray.init` has joined, until nothing is left.

    Raises: InputError without the package, when no cluster was joined, or when too many actors were lost.
    """
    ray = _ray()
    worker = ray.remote(num_cpus=work.cpus, num_gpus=work.gpus, max_restarts=0)(_Worker)
    waiting: dict[Any, int] = {}

    def start(number: int) -> None:
        actor = worker.remote(work, number)
        waiting[actor.run.remote()] = number
        alive[number] = actor

    alive: dict[int, Any] = {}
    finished = lost = 0
    for number in range(work.actors):
        start(number)
    while waiting:
        (done, *_), _ = ray.wait(list(waiting), num_returns=1)
        number = waiting.pop(done)
        try:
            ray.get(done)
        except ray.exceptions.RayActorError as error:
            lost += 1
            if lost > MOST_LOST * work.actors:
                raise InputError(f"{lost} actors were lost, the last by: {str(error).splitlines()[0]}") from error
            _free_lost(work, number)
            start(work.actors + lost)
            continue
        alive.pop(number, None)
        finished += 1
    return RayResult(finished=finished, lost=lost)


def _free_lost(work: Work, number: int) -> None:
    """The units that a lost actor held go to the others at once, and not when their leases run out."""
    project = work.open_project()
    Units(project.view.ledger).release_dead(lambda owner: owner == owner_of(work.run_id, number))
    project.view.ledger.close()


def owner_of(run_id: str, number: int) -> str:
    """The name under which an actor holds its leases."""
    return f"ray {run_id[:12]} actor {number}"


class _Worker:
    """An actor: one runner for its life."""

    def __init__(self, work: Work, number: int) -> None:
        project = work.open_project()
        self.runner = Runner(project, work.open_stages(project), work.run_id, owner=owner_of(work.run_id, number))

    def run(self) -> bool:
        return self.runner.run()


def map_on_ray(function: Callable[[Path], Any], paths: Sequence[Path], *, batch: int = 64) -> list[Any]:
    """A pure function of a file over many, in their order: for bulk reading, profiles and vectors.

    Raises: InputError without the package; what the function raises, when it raises.
    """
    ray = _ray()
    remote = ray.remote(_map_batch)
    places = range(0, len(paths), batch)
    found = ray.get([remote.remote(function, list(paths[place : place + batch])) for place in places])
    return [each for part in found for each in part]


def _map_batch(function: Callable[[Path], Any], paths: Sequence[Path]) -> list[Any]:
    return [function(path) for path in paths]


def _ray() -> Any:
    try:
        import ray  # type: ignore[import-not-found]
    except ImportError as error:
        raise InputError('a Ray cluster needs a package: pip install "masklet[ray]"') from error
    if not ray.is_initialized():
        raise InputError("no Ray cluster was joined: call ray.init(address=...) first, or start one with `ray start`")
    return ray
