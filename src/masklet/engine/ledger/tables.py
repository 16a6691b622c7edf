"""The tables of the ledger: one schema for SQLite (STRICT) and PostgreSQL.

Rows are facts: verdicts, corrections, annotations and events are only ever added. What changes is the state of a pair,
the lease of a work unit, marks of revocation, and which file holds which image.
"""

from sqlalchemy import (
    REAL,
    BigInteger,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

from masklet.engine.states import State

METADATA = MetaData()
# 1 had no tally and fewer indexes, 2 did not know which file holds which image, 3 counted looks at a file there
SCHEMA_VERSION = 4
UNIT_STATES = ("ready", "leased", "done", "failed", "poison", "skipped")
_Long = BigInteger().with_variant(Integer(), "sqlite")
_Real = Double().with_variant(REAL(), "sqlite")


def _one_of(column: str, values: tuple[str, ...]) -> CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})")


def _table(name: str, *parts: Column | CheckConstraint | Index | UniqueConstraint) -> Table:
    return Table(name, METADATA, *parts, sqlite_strict=True)


def _key(name: str) -> Column:
    return Column(name, Text, primary_key=True)


def _text(name: str, refers: str | None = None, *, null: bool = False) -> Column:
    return Column(name, Text, *([ForeignKey(refers)] if refers else []), nullable=null)


def _number(name: str, *, null: bool = False) -> Column:
    return Column(name, _Long, nullable=null)


def _real(name: str, *, null: bool = True) -> Column:
    return Column(name, _Real, nullable=null)


meta = _table("meta", _key("name"), _text("value"))
run = _table("run", _key("run_id"), _number("started_at"), _text("code"), _text("config"))
actor = _table("actor", _key("actor_id"), _text("kind"), _text("name"), _number("revoked"))
source = _table("source", _key("source_id"), _text("name"), _text("licence"), _text("attribution"), _number("revoked"))
media = _table(
    "media",
    _key("media_id"),  # digest of the bytes
    _text("source_id", "source.source_id"),
    _text("uri"),
    _number("width"),
    _number("height"),
    _text("hash64"),
    _text("error", null=True),
    _text("profile", null=True),  # of a clip, its frames as JSON
)
place = _table(  # which image a file holds at present, and when it was looked at last
    "place",
    _key("uri"),
    _text("media_id", "media.media_id"),
    _text("stamp"),
)
Index("place_of_media", place.c.media_id)
replaced = _table("replaced", _key("media_id"), _text("uri"))  # images that no file holds any more
cluster = _table(
    "cluster",
    _key("cluster_row_id"),
    _text("media_id", "media.media_id"),
    _text("representative", "media.media_id"),
    _number("position"),  # how many images were compared: the answer over most counts
)
guard = _table("guard", _key("guard_id"), _text("name"), _text("uri"), _text("hashes"), _text("blob"))
leak = _table("leak", _key("leak_id"), _text("media_id", "media.media_id"), _text("name"), _text("uri"))
phrase = _table("phrase", _key("phrase_id"), _text("text"), _text("concept", null=True), _number("revoked"))
pair = _table(
    "pair",
    _key("pair_id"),
    _text("media_id", "media.media_id"),
    _text("phrase_id", "phrase.phrase_id"),
    _text("origin"),
    _text("parent_pair_id", "pair.pair_id", null=True),
    _text("state"),
    _number("version"),
    _real("priority", null=False),
    UniqueConstraint("media_id", "phrase_id"),
    _one_of("state", tuple(State)),
)
Index("pair_by_state", pair.c.state, pair.c.priority.desc(), pair.c.pair_id)
tally = _table("tally", _key("state"), _number("pairs"))  # of each state; whatever moves a pair counts it
maskset = _table(
    "maskset",
    _key("maskset_id"),
    _text("pair_id", "pair.pair_id"),
    _text("actor_id", "actor.actor_id"),
    _text("proposal_phrase"),
    _real("presence"),
    _text("blob"),  # masks, boxes and scores as JSON
    _number("num_masks"),
    _number("position"),  # the latest is the one that counts
)
Index("maskset_of_pair", maskset.c.pair_id, maskset.c.position)
verdict = _table(
    "verdict",
    _key("verdict_id"),
    _text("task"),
    _text("pair_id", "pair.pair_id"),
    _text("subject"),  # maskset_id, or maskset_id#number of the mask
    _text("slot"),
    _text("actor_id", "actor.actor_id"),
    _text("label"),
    _text("probs", null=True),
    _real("confidence"),
    _text("render"),
    _text("guideline"),
    _real("seconds"),
    _number("lapsed"),
    UniqueConstraint("task", "subject", "slot", "actor_id", "render"),
)
Index("verdict_of_pair", verdict.c.pair_id)
Index(
    "verdict_by_answer", verdict.c.task, verdict.c.actor_id, verdict.c.label, verdict.c.seconds
)  # counts walk along it
description = _table(
    "description",
    _key("description_id"),
    _text("media_id", "media.media_id"),
    _text("actor_id", "actor.actor_id"),
    _text("blob"),  # the vector, half floats
    _text("kind"),
    _text("presence"),
)
frame_range = _table(
    "frame_range",
    _key("range_id"),
    _text("pair_id", "pair.pair_id"),
    _text("actor_id", "actor.actor_id"),
    _number("first"),
    _number("last"),
    _text("kind"),
)
gold = _table("gold", _key("pair_id"), _number("position"))
correction = _table(
    "correction",
    _key("correction_id"),
    _text("pair_id", "pair.pair_id"),
    _text("actor_id", "actor.actor_id"),
    _text("ops"),
    _text("maskset_id", "maskset.maskset_id"),
    _real("seconds"),
)
annotation = _table(
    "annotation",
    _key("annotation_id"),
    _text("pair_id", "pair.pair_id"),
    _text("slot"),
    _number("revision"),
    _number("polarity"),
    _text("maskset_id", "maskset.maskset_id", null=True),
    _text("masks"),  # numbers of the masks that were accepted, as JSON
    _number("instance_exhaustive"),
    _number("pixel_exhaustive"),
    _text("tier"),
    _text("evidence"),  # verdict and correction ids, as JSON
    _number("revoked"),
    UniqueConstraint("pair_id", "slot", "revision"),
)
work_unit = _table(
    "work_unit",
    _key("unit_key"),
    _text("stage"),
    _number("stage_version"),
    _text("subject"),
    _real("priority", null=False),
    _text("state"),
    _number("attempts"),
    _text("lease_owner", null=True),
    _number("lease_until", null=True),
    _text("outputs", null=True),
    _text("error", null=True),
    _text("run_id", "run.run_id"),
    _one_of("state", UNIT_STATES),
)
Index("unit_by_stage", work_unit.c.stage, work_unit.c.state, work_unit.c.priority.desc(), work_unit.c.unit_key)
_again = work_unit.c.attempts > 1
Index("unit_tried_again", work_unit.c.stage, sqlite_where=_again, postgresql_where=_again)
worked = _table(  # units that a run came to the end of, and what they took
    "worked",
    _key("worked_id"),
    _text("run_id", "run.run_id"),
    _text("stage"),
    _number("units"),
    _real("seconds", null=False),
)
spent = _table(  # on a language model
    "spent",
    _key("run_id"),
    _number("requests"),
    _number("prompt_tokens"),
    _number("completion_tokens"),
)
event = _table(
    "event",
    Column("seq", _Long, primary_key=True, autoincrement=True),
    _number("at"),
    _text("actor_id"),
    _text("kind"),
    _text("subject"),
    _text("payload"),
)
snapshot = _table("snapshot", _key("snapshot_id"), _text("manifest"), _number("position"))
TABLES = dict(METADATA.tables)
