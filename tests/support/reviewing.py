"""A data-engine project on a server, and the people who work on it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from engine_world import ColourSegmenter, open_world, run_world, write_photos
from fastapi.testclient import TestClient

from masklet.serve.app import create_app
from masklet.serve.settings import Person, ServeSettings
from masklet.workflows.engine.folder import ProjectSettings, write_settings

ANNOTATOR, REVIEWER, LEAD = "annotator-0123456789", "reviewer-0123456789", "lead-0123456789"
PEOPLE = {
    ANNOTATOR: Person(name="Ann", role="annotator"),
    REVIEWER: Person(name="Rea", role="reviewer"),
    LEAD: Person(name="Lea", role="lead"),
}


def write_project(folder: Path, photos: Path, count: int) -> Path:
    """A project over new photos, whose masks wait for people."""
    write_photos(photos, count)
    write_settings(folder, ProjectSettings(photos=str(photos)))
    run_world(open_world(folder, photos), ColourSegmenter(score=0.5))
    return folder


@contextmanager
def served_project(settings: ServeSettings, project: Path, folder: Path) -> Iterator[TestClient]:
    """The project on a server that keeps its sessions in `folder`."""
    own = replace(settings, folder=folder, project=project, people=PEOPLE)
    with TestClient(create_app(own), base_url="http://127.0.0.1") as http:
        yield http
