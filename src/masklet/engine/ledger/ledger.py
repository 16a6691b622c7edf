"""The ledger: every fact of a project, and the only place where a pair changes its state.

SQLite by default (WAL, one file beside the blobs), PostgreSQL by its address, through the same statements.
"""

import json
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Connection, Engine, Select, create_engine, event, func, select, update
from sqlalchemy.exc import DatabaseError, IntegrityError

from masklet.engine.ledger import tables
from masklet.engine.ledger.places import inserted, keep_place, note_places
from masklet.engine.ledger.tables import METADATA, SCHEMA_VERSION, TABLES
from masklet.engine.records import Author, Fact, Outcome, Values
from masklet.engine.states import State, next_state
from masklet.errors import InputError

RULES = Author(kind="rule", name="masklet")
STATES_COUNTED = select(tables.pair.c.state, func.count().label("n")).group_by(tables.pair.c.state)
SQLITE_PATIENCE_S = 30
PREPARING = 0x6D61736B  # "mask": the lock of those who make or renew the tables
_READING = "masklet_reading"


class Ledger:
    """An open ledger. One writes at a time; what is not committed did not happen."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    @classmethod
    def open(cls, place: Path | str) -> "Ledger":
        """The ledger in a file, or at an address `postgresql+psycopg://...`; made when it is not there.

        Raises: InputError when it cannot be opened, or was written by a newer version.
        """
        url = str(place) if "://" in str(place) else f"sqlite:///{Path(place)}"
        if url.startswith("sqlite"):
            Path(place).parent.mkdir(parents=True, exist_ok=True)
            engine = create_engine(url, connect_args={"timeout": SQLITE_PATIENCE_S})
            event.listen(engine, "connect", _configure_sqlite)
            event.listen(engine, "begin", _begin_sqlite)
        else:
            engine = create_engine(url)
        ledger = cls(engine)
        try:
            ledger._prepare()
        except (DatabaseError, OSError) as error:
            raise InputError(f"{place} is not a ledger that can be used: {_first_line(error)}") from error
        return ledger

    def _prepare(self) -> None:
        with self.transaction() as connection:
            if connection.dialect.name == "postgresql":  # two that make the same table at once fail there
                connection.execute(select(func.pg_advisory_xact_lock(PREPARING)))
            METADATA.create_all(connection)
            found = connection.execute(select(tables.meta.c.value).where(tables.meta.c.name == "schema")).scalar()
            if found is None:
                self._insert(connection, "meta", [{"name": "schema", "value": str(SCHEMA_VERSION)}])
                self._insert(connection, "actor", [RULES.fact().values])
            elif int(found) > SCHEMA_VERSION:
                raise InputError(
                    f"the ledger has schema {found}, this version of masklet reads {SCHEMA_VERSION}: use a newer one"
                )
            elif int(found) < SCHEMA_VERSION:
                self._renew(connection, int(found))

    def _renew(self, connection: Connection, version: int) -> None:
        """Brings a ledger of an older version to this one."""
        if version < 2:
            self._count(connection, {row.state: row.n for row in connection.execute(STATES_COUNTED)})
        if version < 3:
            note_places(connection)
        else:
            connection.exec_driver_sql("ALTER TABLE place DROP COLUMN looks")
        for table in TABLES.values():
            for index in table.indexes:
                index.create(connection, checkfirst=True)
        renewed = update(tables.meta).where(tables.meta.c.name == "schema")
        connection.execute(renewed.values(value=str(SCHEMA_VERSION)))

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A connection whose changes are kept all together or not at all."""
        with self.engine.begin() as connection:
            yield connection

    def close(self) -> None:
        """Lets go of all connections."""
        self.engine.dispose()

    def read(self, query: Select) -> list[Mapping[str, Any]]:
        """The rows of a query."""
        with self.engine.execution_options(**{_READING: True}).begin() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def count(self, table: str) -> int:
        """How many rows a table has."""
        return self.read(select(func.count().label("n")).select_from(TABLES[table]))[0]["n"]

    def add(self, facts: Sequence[Fact]) -> None:
        """Adds facts outside of any unit of work, such as sources and actors."""
        with self.transaction() as connection:
            self.apply(connection, Outcome(facts=facts), RULES)

    def act(self, outcome: Outcome, actor: Author) -> None:
        """Adds what somebody decided, outside of any unit of work. Raises: InputError when a move is not possible."""
        with self.transaction() as connection:
            self._insert(connection, "actor", [actor.fact().values])
            self.apply(connection, outcome, actor)

    def apply(self, connection: Connection, outcome: Outcome, actor: Author) -> None:
        """Adds facts, notes where images lie, marks lapsed verdicts and moves pairs, in an open transaction.

        Raises: InputError when a move is not in the table of states; nothing of the outcome is kept then.
        """
        by_table: dict[str, list[Values]] = {}
        for fact in outcome.facts:
            by_table.setdefault(fact.table, []).append(fact.values)
        changes: Counter[str] = Counter()
        for table, rows in by_table.items():
            changes.update(self._insert(connection, table, rows, *([tables.pair.c.state] if table == "pair" else [])))
        for place in outcome.places:
            for kind, subject, payload in keep_place(connection, place):
                self.tell(connection, actor, kind, subject, payload)
        for verdict_id in outcome.lapsed:
            connection.execute(update(tables.verdict).where(tables.verdict.c.verdict_id == verdict_id).values(lapsed=1))
        for move in outcome.moves:
            before, after = self._move(connection, move.pair_id, move.cause, actor)
            changes[before] -= 1
            changes[after] += 1
        self._count(connection, changes)

    def _move(self, connection: Connection, pair_id: str, cause: Any, actor: Author) -> tuple[str, str]:
        pair = tables.pair
        row = connection.execute(select(pair.c.state, pair.c.version).where(pair.c.pair_id == pair_id)).first()
        if row is None:
            raise InputError(f"the ledger has no pair {pair_id}")
        after = next_state(State(row.state), cause)
        there = (pair.c.pair_id == pair_id) & (pair.c.state == row.state) & (pair.c.version == row.version)
        changed = connection.execute(update(pair).where(there).values(state=str(after), version=row.version + 1))
        if changed.rowcount != 1:
            raise InputError(f"pair {pair_id} was moved by somebody else at the same time; try again")
        payload = {"from": row.state, "to": str(after), "cause": str(cause)}
        self.tell(connection, actor, "moved", pair_id, payload)
        return row.state, str(after)

    def _count(self, connection: Connection, changes: Mapping[str, int]) -> None:
        """Keeps the number of pairs of each state; in one order, so that no two writers wait for one another."""
        for state, change in sorted(changes.items()):
            if change:
                added = inserted(connection, tables.tally).values(state=state, pairs=change)
                total = {"pairs": tables.tally.c.pairs + change}
                connection.execute(added.on_conflict_do_update(index_elements=["state"], set_=total))

    def tell(self, connection: Connection, actor: Author, kind: str, subject: str, payload: Values) -> None:
        """Appends to the story of the project."""
        text = json.dumps(payload, sort_keys=True, ensure_ascii=False)
        values = {"at": int(time.time()), "actor_id": actor.actor_id, "kind": kind, "subject": subject, "payload": text}
        connection.execute(tables.event.insert().values(**values))

    def _insert(self, connection: Connection, table: str, rows: Sequence[Values], *told: Column) -> Sequence[Any]:
        """Adds rows; those whose key is there already say the same and are left. What was added, if told."""
        statement = inserted(connection, TABLES[table]).on_conflict_do_nothing()
        try:
            result = connection.execute(statement.returning(*told) if told else statement, [dict(row) for row in rows])
            return result.scalars().all() if told else ()
        except IntegrityError as error:
            raise InputError(
                f"a row of {table} refers to something that the ledger lacks: {_first_line(error)}"
            ) from error


def _begin_sqlite(connection: Connection) -> None:
    """Writers take their lock at once, so that none finds the state changed under it; readers take none."""
    is_reading = connection.get_execution_options().get(_READING, False)
    connection.exec_driver_sql("BEGIN" if is_reading else "BEGIN IMMEDIATE")


def _configure_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions are begun by `BEGIN IMMEDIATE` alone
    cursor = connection.cursor()
    for pragma in (f"busy_timeout={1000 * SQLITE_PATIENCE_S}", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    _write_ahead(cursor)
    cursor.close()


def _write_ahead(cursor: Any) -> None:
    """Turns a new file to write-ahead logging. SQLite does not wait by itself while another writer makes the tables."""
    deadline = time.monotonic() + SQLITE_PATIENCE_S
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
        time.sleep(0.02)


def _first_line(error: Exception) -> str:
    return str(getattr(error, "orig", error)).splitlines()[0]
