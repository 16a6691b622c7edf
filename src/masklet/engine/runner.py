"""The runner: plans and runs stages until none has anything to do. It knows no stage.

Everything is in the ledger: killed at any point, at most the running unit is done again, with the same outcome.
"""

import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from masklet.engine.ledger.units import Lease, Units
from masklet.engine.stages.stage import Project, Stage
from masklet.errors import InputError
from masklet.interrupt import Interrupt

POISON_SHARE = 0.01  # of a stage's units set aside, above which it stops
LEAST_FOR_SHARE = 200
STOPPING = "stopping after this unit; Ctrl-C once more to stop at once"


@dataclass(frozen=True, kw_only=True)
class Progress:
    """A unit that ended: its stage, and how many of those now planned are done."""

    stage: str
    done: int
    planned: int


class PoisonError(InputError):
    """Too many units of a stage cannot be done."""


class Runner:
    """Runs stages in their order in this process; several runners share a ledger through leases."""

    def __init__(self, project: Project, stages: Sequence[Stage], run_id: str, *, owner: str | None = None) -> None:
        self.project, self.stages, self.run_id = project, stages, run_id
        self.owner = owner or f"{socket.gethostname()}-{os.getpid()}"
        self.units = Units(project.view.ledger)

    def run(self, tell: Callable[[Progress], object] = lambda _: None) -> bool:
        """Until nothing is left; False when it was stopped by Ctrl-C.

        Raises: PoisonError when more than a hundredth of a stage's units fail again and again.
        """
        with Interrupt(STOPPING) as interrupt:
            while True:
                before = self.units.counts()
                for stage in self.stages:
                    self.units.plan(stage.plan(self.project), self.run_id)
                    if not self._run_stage(stage, tell, interrupt):
                        return False
                if self.units.counts() == before:
                    return True

    def _run_stage(self, stage: Stage, tell: Callable[[Progress], object], interrupt: Interrupt) -> bool:
        while True:
            if interrupt.requested:
                return False
            leases = self.units.claim(stage.name, self.owner)
            if not leases:
                return True
            self._run_unit(stage, leases[0])
            counts = self.units.counts()
            mine = {state: count for (name, state), count in counts.items() if name == stage.name}
            tell(Progress(stage=stage.name, done=mine.get("done", 0), planned=sum(mine.values())))
            self._check_poison(stage, mine)

    def _run_unit(self, stage: Stage, lease: Lease) -> None:
        try:
            outcome = stage.run(self.project, lease.subject)
        except InputError as error:
            self.units.fail(lease, self.owner, str(error))
        except BaseException:
            self.units.release(lease, self.owner)
            raise
        else:
            self.units.complete(lease, self.owner, outcome, stage.actor)

    def _check_poison(self, stage: Stage, counts: dict[str, int]) -> None:
        poison, total = counts.get("poison", 0), sum(counts.values())
        if total >= LEAST_FOR_SHARE and poison > POISON_SHARE * total:
            raise PoisonError(
                f"stage {stage.name}: {poison} of {total} units failed three times; "
                "`masklet engine stats` lists them, and a later run goes on with the rest"
            )
