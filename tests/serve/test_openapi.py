"""The OpenAPI document is whole, and nonsense sent to any of its paths is never a fault of the server."""

import json
import re

from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, strategies
from hypothesis import settings as bounded

from masklet.client import Client


def test_every_path_is_described_with_its_errors(http: TestClient) -> None:
    paths = http.get("/openapi.json").json()["paths"]
    assert {"/v1/segment", "/v1/images/{key}/click", "/v1/jobs/{key}/frames", "/predict"} <= set(paths)
    for path, methods in paths.items():
        for method, described in methods.items():
            assert described.get("summary") or described.get("description"), (method, path)
            assert "413" in described["responses"], (method, path)


def test_bodies_say_what_may_be_in_them(http: TestClient) -> None:
    document = http.get("/openapi.json").json()
    told = document["components"]["schemas"]
    for name in ("FindBody", "PhotoClickBody", "ExemplarBody", "VideoClickBody", "ThresholdBody", "ObjectsBody"):
        assert any("examples" in json.dumps(each) for each in told[name]["properties"].values()), name
    segment = document["paths"]["/v1/segment"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert segment["examples"][0]["prompts"] == [{"type": "phrase", "text": "coin"}]
    named = set(re.findall(r'"\$ref": "#/components/schemas/(\w+)"', json.dumps(document)))
    assert named <= told.keys()


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
