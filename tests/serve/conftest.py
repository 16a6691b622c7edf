"""A server of the debug model in this process, and a client of it. Without the extra these tests are skipped."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("fastapi", reason="masklet[serve] is not installed")

from fastapi.testclient import TestClient
from serving import photo_bytes, write_clip

from masklet.client import Client
from masklet.serve.app import create_app
from masklet.serve.settings import ServeSettings
from masklet.workflows.model_choice import ModelChoice

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    from browsing import launched  # skips the module that imports it where there is no browser

    with launched() as found:
        yield found


@pytest.fixture(scope="module")
def settings(base: Path, tmp_path_factory: pytest.TempPathFactory) -> ServeSettings:
    return ServeSettings(folder=tmp_path_factory.mktemp("serve"), model=ModelChoice(name=str(base), device="cpu"))


@pytest.fixture(scope="module")
def http(settings: ServeSettings) -> Iterator[TestClient]:
    with TestClient(create_app(settings), base_url="http://127.0.0.1:8765") as test_client:
        yield test_client


@pytest.fixture(scope="module")
def client(http: TestClient) -> Client:
    return Client(http=http)


@pytest.fixture(scope="session")
def photo() -> bytes:
    return photo_bytes()


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip") / "clip.mp4")
