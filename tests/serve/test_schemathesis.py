"""Requests that schemathesis makes of the OpenAPI document, good and bad: none is a fault of the server."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as bounded
from serving import Running, running_server

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")

BUSY = 503  # said where nothing more fits in, such as a ninth live stream


@pytest.fixture(scope="module")
def server(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running_server(tmp_path_factory.mktemp("schemathesis"), str(base)) as running:
        yield running


def test_no_request_is_a_fault_of_the_server(server: Running) -> None:
    document = schemathesis.openapi.from_url(f"{server.address}/openapi.json")
    asked = set[str]()
    for found in document.get_all_operations():
        operation = found.ok()

        @given(case=operation.as_strategy())
        @bounded(
            max_examples=5,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def ask(case: Any) -> None:
            answer = case.call(timeout=120)
            assert answer.status_code < 500 or answer.status_code == BUSY, answer.text

        ask()
        asked.add(operation.path)
    assert {"/v1/segment", "/v1/review/hand", "/predict"} <= asked
