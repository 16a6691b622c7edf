"""Label Studio's own server with masklet as its backend, from end to end. It asks for an installation to be named:

python -m venv ls && ls/bin/pip install label-studio
MASKLET_LABEL_STUDIO=ls/bin/label-studio pytest tests/serve/test_label_studio_server.py
"""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from serving import free_port, running_server

from masklet.formats.tools.labelstudio import unpack_brush

PROGRAM = os.environ.get("MASKLET_LABEL_STUDIO")
if not PROGRAM:
    pytest.skip("MASKLET_LABEL_STUDIO names no label-studio", allow_module_level=True)

COINS = Path(__file__).parents[2] / "src" / "masklet" / "assets" / "coins.jpg"
TOKEN = "0123456789abcdef0123456789abcdef01234567"
SIZE = (303, 384)
CONFIG = """
<View>
  <Image name="image" value="$image"/>
  <TextArea name="phrase" toName="image"/>
  <BrushLabels name="mask" toName="image">
    <Label value="Coin" predicted_values="coin"/><Label value="Cat"/>
  </BrushLabels>
  <KeyPointLabels name="points" toName="image" smart="true"><Label value="Coin"/></KeyPointLabels>
  <RectangleLabels name="boxes" toName="image" smart="true"><Label value="Coin"/></RectangleLabels>
</View>
"""


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    """Label Studio on a folder of its own."""
    assert PROGRAM
    port, folder = free_port(), tmp_path_factory.mktemp("label-studio")
    own = {
        "LABEL_STUDIO_USERNAME": "ann@example.org",
        "LABEL_STUDIO_PASSWORD": "a-pass-word-12",
        "LABEL_STUDIO_USER_TOKEN": TOKEN,
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
        "LABEL_STUDIO_HOST": f"http://127.0.0.1:{port}",
        "COLLECT_ANALYTICS": "false",
        "ML_BLOCK_LOCAL_IP": "false",  # masklet runs on this machine here
        "USE_DEFAULT_BANNED_SUBNETS": "false",
    }
    command = [PROGRAM, "start", "--no-browser", "--port", str(port), "--internal-host", "127.0.0.1"]
    process = subprocess.Popen([*command, "--data-dir", str(folder)], env={**os.environ, **own})
    client = httpx2.Client(
        base_url=f"http://127.0.0.1:{port}", headers={"Authorization": f"Token {TOKEN}"}, timeout=180
    )
    try:
        for _ in range(1800):
            assert process.poll() is None, "Label Studio has stopped"
            try:
                if client.get("/health").status_code == 200:
                    break
            except httpx2.HTTPError:
                pass
            time.sleep(0.5)
        yield client
    finally:
        process.terminate()
        process.wait(60)


def asked(answer: Any) -> Any:
    assert answer.status_code < 300, answer.text
    return answer.json()


def pixels_of(region: dict[str, Any]) -> np.ndarray:
    assert region["type"] == "brushlabels"
    values = unpack_brush(np.array(region["value"]["rle"], np.uint8), 4 * SIZE[0] * SIZE[1])
    return values.reshape(*SIZE, 4)[:, :, 3] > 0


def test_a_project_is_connected_predicted_and_clicked(studio: httpx2.Client, tmp_path: Path) -> None:
    with running_server(tmp_path, "tiny", "--private-host", "127.0.0.1") as server:
        project = asked(studio.post("/api/projects", json={"title": "coins", "label_config": CONFIG}))["id"]
        files = {"coins.jpg": ("coins.jpg", COINS.read_bytes(), "image/jpeg")}
        asked(studio.post(f"/api/projects/{project}/import", files=files))
        [task] = asked(studio.get("/api/tasks", params={"project": project}))["tasks"]
        connected = {"url": server.address, "project": project, "title": "masklet", "is_interactive": True}
        backend = asked(studio.post("/api/ml", json=connected))
        assert backend["state"] == "CO"

        # What somebody draws: a click on a coin, then a phrase
        point = {"x": 100 * 52 / 384, "y": 100 * 62 / 303, "width": 1, "keypointlabels": ["Coin"]}
        region = {"from_name": "points", "to_name": "image", "type": "keypointlabels", "is_positive": True}
        address = f"/api/ml/{backend['id']}/interactive-annotating"
        body = {"task": task["id"], "context": {"result": [region | {"value": point}]}}
        [clicked] = asked(studio.post(address, json=body))["data"]["result"]
        mask = pixels_of(clicked)
        assert clicked["value"]["brushlabels"] == ["Coin"]
        assert mask[62, 52]
        assert mask.sum() < 0.05 * mask.size
        words = {"from_name": "phrase", "to_name": "image", "type": "textarea", "value": {"text": ["coin"]}}
        found = asked(studio.post(address, json={"task": task["id"], "context": {"result": [words]}}))["data"]["result"]
        assert len(found) >= 15

        # Predictions of the whole project, kept by Label Studio; none of a task whose image is nowhere
        asked(studio.post(f"/api/projects/{project}/import", json=[{"image": "http://127.0.0.1:1/gone.jpg"}]))
        chosen = {"selectedItems": {"all": True, "excluded": []}}
        asked(
            studio.post("/api/dm/actions", params={"id": "retrieve_tasks_predictions", "project": project}, json=chosen)
        )
        [prediction] = asked(studio.get(f"/api/tasks/{task['id']}"))["predictions"]
        assert len(prediction["result"]) == len(found)
        assert prediction["model_version"] == "masklet"
        tasks = asked(studio.get("/api/tasks", params={"project": project}))["tasks"]
        [gone] = [each["id"] for each in tasks if each["id"] != task["id"]]
        assert asked(studio.get(f"/api/tasks/{gone}"))["predictions"] == []
