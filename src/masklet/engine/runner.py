"""The runner: plans and runs stages until none has anything to do. It knows no stage.

Everything is in the ledger: killed at any point, at most the running unit is done again, with the same outcome. Workers
that share a ledger wait for one another at the end of each stage, so that later ones see the same facts in any order.
"""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from masklet.engine.ledger.units import LEASE_SECONDS, Lease, LeaseLostError, Units
from masklet.engine.stages.stage import Project, Stage
from masklet.errors import InputError
from masklet.interrupt import Interrupt

POISON_SHARE = 0.01  # of a stage's units set aside, above which it stops
LEAST_FOR_SHARE = 200
BATCH = 8  # units that a worker takes at once; each time costs a write to the disk
WAIT_SECONDS = 0.05  # between looks at what other workers still hold
STOPPING = "stopping after this unit; Ctrl-C once more to stop at once"


@dataclass(frozen=True, kw_only=True)
class Progress:
    """A unit that ended: its stage, how many of those now planned are done, and how long it took."""

    stage: str
    done: int
    planned: int
    seconds: float


class PoisonError(InputError):
    """Too many units of a stage cannot be done."""


class Runner:
    """Runs stages in their order in this process; several runners share a ledger through leases."""

    def __init__(self, project: Project, stages: Sequence[Stage], run_id: str, *, owner: str | None = None) -> None:
        self.project, self.stages, self.run_id = project, stages, run_id
        self.owner = owner or f"{socket.gethostname()}:{os.getpid()}"
        self.units = Units(project.view.ledger)

    def run(self, tell: Callable[[Progress], object] = lambda _: None) -> bool:
        """Until nothing is left; False when it was stopped by Ctrl-C.

        Raises: PoisonError when more than a hundredth of a stage's units fail again and again.
        """
        self.units.release_dead(has_ended)
        with Interrupt(STOPPING) as interrupt:
            while True:
                before = self.units.counts()
                for stage in self.stages:
                    units = stage.plan(self.project)
                    if units:
                        self._check_actor(stage)
                    self.units.plan(units, self.run_id)
                    if not self._run_stage(stage, tell, interrupt):
                        return False
                if self.units.counts() == before:
                    return True

    def _check_actor(self, stage: Stage) -> None:
        actor = stage.actor
        if self.project.view.is_revoked(actor.actor_id):
            raise InputError(f"{actor.kind} {actor.name} was revoked in this project: choose another one")

    def _run_stage(self, stage: Stage, tell: Callable[[Progress], object], interrupt: Interrupt) -> bool:
        counts = self.units.counts_of(stage.name)
        while not interrupt.requested:
            leases = self.units.claim(stage.name, self.owner, BATCH)
            if not leases and not self.units.is_busy(stage.name):
                return True
            if not leases:
                time.sleep(WAIT_SECONDS)
            with self._given_back(leases):
                while leases and not interrupt.requested:
                    start = time.perf_counter()
                    ended = self._run_unit(stage, leases.pop(0))
                    counts[ended] = counts.get(ended, 0) + 1
                    counts["ready"] = max(0, counts.get("ready", 0) - 1)
                    planned = sum(counts.values())
                    seconds = time.perf_counter() - start
                    tell(Progress(stage=stage.name, done=counts.get("done", 0), planned=planned, seconds=seconds))
                    check_poison(stage.name, counts)
        return False

    @contextmanager
    def _given_back(self, leases: list[Lease]) -> Iterator[None]:
        """Units that were not begun when the block is left go to whoever comes next."""
        try:
            yield
        finally:
            for lease in leases:
                self.units.release(lease, self.owner)

    def _run_unit(self, stage: Stage, lease: Lease) -> str:
        """The state that the unit ends in."""
        try:
            with self._kept(lease):
                outcome = stage.run(self.project, lease.subject)
        except InputError as error:
            return "poison" if self.units.fail(lease, self.owner, str(error)) else "ready"
        except BaseException:
            self.units.release(lease, self.owner)
            raise
        try:
            self.units.complete(lease, self.owner, outcome, stage.actor)
        except LeaseLostError:
            return "leased"
        return "done"

    @contextmanager
    def _kept(self, lease: Lease) -> Iterator[None]:
        """A slow unit keeps its lease for as long as the process lives."""
        over = threading.Event()

        def renew() -> None:
            while not over.wait(LEASE_SECONDS / 3):
                try:
                    self.units.renew(lease, self.owner)
                except LeaseLostError:
                    return

        thread = threading.Thread(target=renew, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def check_poison(stage: str, counts: dict[str, int]) -> None:
    """Raises: PoisonError when too many units of a stage were set aside for it to make sense to go on."""
    poison, total = counts.get("poison", 0), sum(counts.values())
    if total >= LEAST_FOR_SHARE and poison > POISON_SHARE * total:
        raise PoisonError(
            f"stage {stage}: {poison} of {total} units failed three times; "
            "`masklet engine stats` lists them, and a later run goes on with the rest"
        )


def has_ended(owner: str) -> bool:
    """Whether an owner is a process of this machine that is no longer there; of other machines nobody knows."""
    host, _, process = owner.rpartition(":")
    if host != socket.gethostname() or not process.isdecimal():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except OSError:  # it lives, and belongs to somebody else
        return False
    return False
