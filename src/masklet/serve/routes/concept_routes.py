"""Concepts that people keep with their examples, for other photos."""

from fastapi import APIRouter

from masklet.serve.schemas import ConceptKeepBody, KeptConceptView
from masklet.serve.state import Asker, Server

router = APIRouter(prefix="/v1/concepts", tags=["concepts"])


@router.get("")
def kept(server: Server, person: Asker) -> list[KeptConceptView]:
    """Concepts that were kept, the latest first."""
    return server.bank.rows(person)


@router.post("", status_code=201)
def keep(body: ConceptKeepBody, server: Server, person: Asker) -> KeptConceptView:
    """Keeps a concept of a photo session with the examples that it has there."""
    concept, picture = server.store.photo(body.image, person).keep_concept(body.phrase)
    return server.bank.keep(concept, body.name or body.phrase or "like the boxes", picture, person)


@router.delete("/{key}", status_code=204)
def forget(key: str, server: Server, person: Asker) -> None:
    """Forgets a concept."""
    server.bank.remove(key, person)
