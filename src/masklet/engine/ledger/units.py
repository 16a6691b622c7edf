"""Units of work in the ledger: planned once, leased to one worker at a time, completed together with what they add."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, and_, func, or_, select, update

from masklet.engine.ledger.ledger import Ledger
from masklet.engine.ledger.tables import work_unit
from masklet.engine.records import Author, Outcome, Unit
from masklet.errors import InputError

LEASE_SECONDS = 600
MOST_ATTEMPTS = 3


@dataclass(frozen=True, kw_only=True)
class Lease:
    """A unit that a worker holds."""

    key: str
    stage: str
    subject: str
    attempts: int


class LeaseLostError(InputError):
    """A worker was too slow: its lease ran out, and another worker does the same unit."""


class Units:
    """The work of a ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    def times_done(self, stage: str) -> dict[str, int]:
        """How many units of a stage were completed about each subject."""
        done = (work_unit.c.stage == stage) & (work_unit.c.state == "done")
        query = select(work_unit.c.subject, func.count().label("n")).where(done).group_by(work_unit.c.subject)
        return {row["subject"]: row["n"] for row in self.ledger.read(query)}

    def plan(self, units: Sequence[Unit], run_id: str) -> int:
        """Adds units that are not there yet; how many were new."""
        if not units:
            return 0
        before = self.ledger.count("work_unit")
        rows = [
            {
                "unit_key": unit.key,
                "stage": unit.stage,
                "stage_version": unit.version,
                "subject": unit.subject,
                "priority": unit.priority,
                "state": "ready",
                "attempts": 0,
                "lease_owner": None,
                "lease_until": None,
                "outputs": None,
                "error": None,
                "run_id": run_id,
            }
            for unit in units
        ]
        with self.ledger.transaction() as connection:
            self.ledger._insert(connection, "work_unit", rows)
        return self.ledger.count("work_unit") - before

    def claim(self, stage: str, owner: str, count: int = 1, *, now: float | int | None = None) -> list[Lease]:
        """Leases of up to `count` units that are ready, or whose lease ran out; highest priority first."""
        now = time.time() if now is None else now
        free = and_(
            work_unit.c.stage == stage,
            or_(
                work_unit.c.state == "ready",
                and_(work_unit.c.state == "leased", work_unit.c.lease_until < int(now)),
            ),
        )
        chosen = select(work_unit.c.unit_key).where(free)
        chosen = chosen.order_by(work_unit.c.priority.desc(), work_unit.c.unit_key).limit(count)
        with self.ledger.transaction() as connection:
            if connection.dialect.name == "postgresql":
                chosen = chosen.with_for_update(skip_locked=True)
            keys = list(connection.execute(chosen).scalars())
            if not keys:
                return []
            taken = (
                update(work_unit)
                .where(work_unit.c.unit_key.in_(keys))
                .values(
                    state="leased",
                    lease_owner=owner,
                    lease_until=int(now) + LEASE_SECONDS,
                    attempts=work_unit.c.attempts + 1,
                )
            )
            connection.execute(taken)
            found = select(work_unit.c.unit_key, work_unit.c.subject, work_unit.c.attempts)
            rows = connection.execute(found.where(work_unit.c.unit_key.in_(keys))).all()
        order = {key: place for place, key in enumerate(keys)}
        leases = [Lease(key=row.unit_key, stage=stage, subject=row.subject, attempts=row.attempts) for row in rows]
        return sorted(leases, key=lambda lease: order[lease.key])

    def renew(self, lease: Lease, owner: str, *, now: float | int | None = None) -> None:
        """Holds a lease for longer. Raises: LeaseLostError when somebody else has it by now."""
        until = int(time.time() if now is None else now) + LEASE_SECONDS
        with self.ledger.transaction() as connection:
            self._held(connection, lease, owner, {"lease_until": until})

    def complete(self, lease: Lease, owner: str, outcome: Outcome, actor: Author) -> None:
        """Adds what the unit gave and ends it, in one transaction.

        Raises: LeaseLostError: then nothing is added, for somebody else does the same work.
        """
        with self.ledger.transaction() as connection:
            self._held(connection, lease, owner, {"state": "done", "lease_owner": None, "lease_until": None})
            self.ledger._insert(connection, "actor", [actor.fact().values])
            self.ledger.apply(connection, outcome, actor)

    def fail(self, lease: Lease, owner: str, error: str) -> bool:
        """Gives a unit back, or sets it aside after too many attempts; True when it was set aside."""
        is_poison = lease.attempts >= MOST_ATTEMPTS
        state = "poison" if is_poison else "ready"
        with self.ledger.transaction() as connection:
            values = {"state": state, "error": error[:500], "lease_owner": None, "lease_until": None}
            self._held(connection, lease, owner, values)
        return is_poison

    def release(self, lease: Lease, owner: str) -> None:
        """Gives a unit back as if it had not been tried."""
        with self.ledger.transaction() as connection:
            values = {"state": "ready", "attempts": lease.attempts - 1, "lease_owner": None, "lease_until": None}
            self._held(connection, lease, owner, values)

    def release_dead(self, is_dead: Callable[[str], bool]) -> int:
        """Gives back all units whose owners are known to have ended; how many there were."""
        leased = select(work_unit.c.lease_owner).where(work_unit.c.state == "leased").distinct()
        dead = [row["lease_owner"] for row in self.ledger.read(leased) if is_dead(row["lease_owner"])]
        if not dead:
            return 0
        theirs = and_(work_unit.c.state == "leased", work_unit.c.lease_owner.in_(dead))
        with self.ledger.transaction() as connection:
            freed = update(work_unit).where(theirs).values(state="ready", lease_owner=None, lease_until=None)
            return connection.execute(freed).rowcount

    def is_busy(self, stage: str, *, now: float | int | None = None) -> bool:
        """Whether some worker holds units of a stage, so that more may come of it."""
        held = and_(
            work_unit.c.stage == stage,
            work_unit.c.state == "leased",
            work_unit.c.lease_until >= int(time.time() if now is None else now),
        )
        return bool(self.ledger.read(select(work_unit.c.unit_key).where(held).limit(1)))

    def counts_of(self, stage: str) -> dict[str, int]:
        """How many units of one stage are in each state."""
        query = select(work_unit.c.state, func.count().label("n")).where(work_unit.c.stage == stage)
        return {row["state"]: row["n"] for row in self.ledger.read(query.group_by(work_unit.c.state))}

    def counts(self) -> dict[tuple[str, str], int]:
        """How many units of each stage are in each state."""
        query = select(work_unit.c.stage, work_unit.c.state, func.count().label("n"))
        rows = self.ledger.read(query.group_by(work_unit.c.stage, work_unit.c.state))
        return {(row["stage"], row["state"]): row["n"] for row in rows}

    def retried(self) -> dict[str, int]:
        """How many units of each stage were begun more than once."""
        query = select(work_unit.c.stage, func.count().label("n")).where(work_unit.c.attempts > 1)
        rows = self.ledger.read(query.group_by(work_unit.c.stage).order_by(work_unit.c.stage))
        return {row["stage"]: row["n"] for row in rows}

    def unended(self, units: Iterable[Unit]) -> set[str]:
        """The subjects of those units that are neither done nor set aside."""
        left = list(units)
        ended = select(work_unit.c.unit_key).where(work_unit.c.state.in_(("done", "poison")))
        keys = {
            row["unit_key"] for row in self.ledger.read(ended.where(work_unit.c.stage.in_({u.stage for u in left})))
        }
        return {unit.subject for unit in left if unit.key not in keys}

    def set_aside(self) -> set[str]:
        """The subjects of units that failed again and again."""
        rows = self.ledger.read(select(work_unit.c.subject).where(work_unit.c.state == "poison"))
        return {row["subject"] for row in rows}

    def _held(self, connection: Connection, lease: Lease, owner: str, values: dict) -> None:
        mine = and_(work_unit.c.unit_key == lease.key, work_unit.c.state == "leased", work_unit.c.lease_owner == owner)
        if connection.execute(update(work_unit).where(mine).values(**values)).rowcount != 1:
            raise LeaseLostError(f"the lease of unit {lease.key} ran out and was taken by another worker")
