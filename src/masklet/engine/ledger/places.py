"""Which file holds which image: a file may be changed, renamed or copied, while verdicts are about an image's bytes.

An image that no file holds any more, as another one is there or none, is replaced: its pairs are asked no more and its
labels are in no snapshot, until a file holds the same bytes again.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from masklet.engine.ledger.tables import media, place, replaced
from masklet.engine.records import Place

Told = tuple[str, str, Mapping[str, Any]]  # kind, subject and payload of an event


def inserted(connection: Connection, table: Any) -> Any:
    """An insert in the server's dialect, which knows what to do about a key that is there."""
    return (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(table)


def keep_place(connection: Connection, now: Place) -> list[Told]:
    """Notes what a file holds now; what that changes for the images it held and holds, as events."""
    at = place.c.uri == now.uri
    before = connection.execute(select(place.c.media_id).where(at)).scalar()
    if now.media_id is None:
        connection.execute(delete(place).where(at))
    else:
        values = {"media_id": now.media_id, "stamp": now.stamp}
        added = inserted(connection, place).values(uri=now.uri, **values)
        connection.execute(added.on_conflict_do_update(index_elements=["uri"], set_=values))
        other = (media.c.media_id == now.media_id) & (media.c.source_id != now.source_id)
        connection.execute(update(media).where(other).values(source_id=now.source_id))
    touched = {each for each in (before, now.media_id) if each is not None}
    return [told for media_id in sorted(touched) for told in _settle(connection, media_id, now.uri)]


def _settle(connection: Connection, media_id: str, uri: str) -> list[Told]:
    """An image goes by the name of a file that holds it; without any it is marked as replaced."""
    places = select(place.c.uri).where(place.c.media_id == media_id).order_by(place.c.uri)
    uris = list(connection.execute(places).scalars())
    if not uris:
        marked = inserted(connection, replaced).values(media_id=media_id, uri=uri).on_conflict_do_nothing()
        return [("replaced", media_id, {"file": uri})] if connection.execute(marked).rowcount else []
    told: list[Told] = []
    if connection.execute(delete(replaced).where(replaced.c.media_id == media_id)).rowcount:
        told.append(("returned", media_id, {"file": uri}))
    name = connection.execute(select(media.c.uri).where(media.c.media_id == media_id)).scalar()
    if name not in uris:
        connection.execute(update(media).where(media.c.media_id == media_id).values(uri=uris[0]))
        told.append(("renamed", media_id, {"from": name, "to": uris[0]}))
    return told


def note_places(connection: Connection) -> None:
    """The places of a ledger that has none yet: each image lies where it was first seen."""
    known = select(media.c.media_id, media.c.uri).order_by(media.c.uri, media.c.media_id)
    rows = {row.uri: {"uri": row.uri, "media_id": row.media_id, "stamp": ""} for row in connection.execute(known)}
    if rows:
        connection.execute(inserted(connection, place).on_conflict_do_nothing(), list(rows.values()))
