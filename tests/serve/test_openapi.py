"""What the OpenAPI document says is what the server does: requests made of it are never a fault of the server."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, strategies
from hypothesis import settings as bounded

from masklet.client import Client
from masklet.serve.app import create_app
from masklet.serve.settings import Limits, ServeSettings

UNCHECKED = {"/v1/doctor"}  # measures the machine, for seconds


def test_every_path_is_described_with_its_errors(http: TestClient) -> None:
    paths = http.get("/openapi.json").json()["paths"]
    assert {"/v1/segment", "/v1/images/{key}/click", "/v1/jobs/{key}/frames", "/predict"} <= set(paths)
    for path, methods in paths.items():
        for method, described in methods.items():
            assert described.get("summary") or described.get("description"), (method, path)
            assert "413" in described["responses"], (method, path)


@pytest.mark.slow
def test_requests_made_of_the_document_are_never_a_fault(settings: ServeSettings, tmp_path: Path) -> None:
    schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")
    own = replace(settings, folder=tmp_path, limits=Limits(rate=1e9, burst=10**9))
    app = create_app(own)
    with TestClient(app, base_url="http://127.0.0.1"):
        schema = schemathesis.openapi.from_asgi("/openapi.json", app)
        for result in schema.get_all_operations():
            operation = result.ok()
            if operation.path in UNCHECKED:
                continue

            @bounded(max_examples=int(os.environ.get("MASKLET_EXAMPLES", "8")), suppress_health_check=list(HealthCheck))
            @given(case=operation.as_strategy())
            def check(case: object) -> None:
                answer = case.call(headers={"host": "127.0.0.1"})  # type: ignore[attr-defined]
                assert answer.status_code < 500 or answer.status_code in (503, 507), answer.text

            check()


NONSENSE = strategies.recursive(
    strategies.none() | strategies.booleans() | strategies.floats() | strategies.text(max_size=20),
    lambda inner: (
        strategies.lists(inner, max_size=4) | strategies.dictionaries(strategies.text(max_size=10), inner, max_size=4)
    ),
    max_leaves=12,
)
FIELDS = (
    "image",
    "prompts",
    "tasks",
    "label_config",
    "params",
    "points",
    "labels",
    "phrases",
    "mask",
    "objects",
    "box",
)


@given(data=strategies.data())
@bounded(max_examples=60, suppress_health_check=list(HealthCheck))
def test_nonsense_in_any_body_is_refused_with_a_sentence(
    data: strategies.DataObject, http: TestClient, client: Client
) -> None:
    paths = [path for path, methods in http.get("/openapi.json").json()["paths"].items() if "post" in methods]
    path = data.draw(strategies.sampled_from(paths)).replace("{key}", "a" * 22).replace("{place}", "1")
    body = data.draw(strategies.dictionaries(strategies.sampled_from(FIELDS), NONSENSE) | NONSENSE)
    try:
        answer = http.post(path, json=body)
    except ValueError:  # NaN is no JSON: it cannot be sent
        return
    assert answer.status_code < 500 or answer.status_code == 503, (path, body, answer.text)  # 503: no room for more
    assert client.health().status == "UP"
