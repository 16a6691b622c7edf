"""Requests that schemathesis makes of the OpenAPI document, good and bad: none is a fault of the server."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase
from hypothesis import settings as bounded
from serving import Running, running_server

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")

BUSY = 503  # said where nothing more fits in, such as a ninth live stream


@pytest.fixture(scope="module")
def server(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running_server(tmp_path_factory.mktemp("schemathesis"), str(base)) as running:
        yield running


@pytest.fixture
def document(server: Running) -> Any:
    return schemathesis.openapi.from_url(f"{server.address}/openapi.json")


schema = schemathesis.pytest.from_fixture("document")


@schema.parametrize()
@bounded(
    max_examples=8,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_no_request_is_a_fault_of_the_server(case: Any) -> None:
    answer = case.call(timeout=120)
    assert answer.status_code < 500 or answer.status_code == BUSY, answer.text
