"""What routes work with, kept on the application, and how they get at it."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from masklet.serve.bridges.bridge_videos import BridgeVideos
from masklet.serve.bridges.encoded import EncodedImages
from masklet.serve.guard import LOCAL_PERSON
from masklet.serve.model_host import ModelHost
from masklet.serve.review.review_desk import ReviewDesk
from masklet.serve.sessions.concept_bank import ConceptBank
from masklet.serve.sessions.live import LiveStreams
from masklet.serve.sessions.store import SessionStore
from masklet.serve.settings import Person, ServeSettings
from masklet.serve.telemetry import Telemetry
from masklet.serve.uploads import ImageDecoder


@dataclass(frozen=True, kw_only=True)
class ServerState:
    """The parts of one server."""

    settings: ServeSettings
    host: ModelHost
    store: SessionStore
    decoder: ImageDecoder
    telemetry: Telemetry
    desk: ReviewDesk | None
    encoded: EncodedImages
    live: LiveStreams
    bank: ConceptBank
    videos: BridgeVideos

    def stop(self) -> None:
        """Ends what would hold a server up that is to stop: jobs and their streams, and whoever waits for the model."""
        self.store.cancel_jobs()
        self.videos.cancel_jobs()
        self.host.close()


def server_of(request: Request) -> ServerState:
    """The parts of the server that a request came to."""
    return request.app.state.server


def person_of(request: Request) -> Person:
    """Who asks; the gate has looked at the token."""
    return getattr(request.state, "person", LOCAL_PERSON)


Server = Annotated[ServerState, Depends(server_of)]
Asker = Annotated[Person, Depends(person_of)]
