"""Other programs' protocols: requests as their clients send them, answers as those clients read them."""

import base64
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from masklet.formats.tools.labelstudio import pack_brush
from masklet.ops.masks import polygons_to_mask, rle_decode
from masklet.serve.app import create_app
from masklet.serve.bridges.label_config import parse_config
from masklet.serve.bridges.label_studio_video import Sighting, sequence_of
from masklet.serve.bridges.shapes import cvat_bitmap, cvat_runs
from masklet.serve.problems import given_up
from masklet.serve.settings import ServeSettings

HOST = "http://127.0.0.1"
CONFIG = """
<View>
  <Image name="photo" value="$picture"/>
  <TextArea name="phrase" toName="photo"/>
  <BrushLabels name="brush" toName="photo" model_score_threshold="0"><Label value="Cup" predicted_values="mug, cup"/>
    <Label value="Plate"/></BrushLabels>
  <KeyPointLabels name="points" toName="photo" smart="true"><Label value="Cup"/></KeyPointLabels>
  <RectangleLabels name="boxes" toName="photo" smart="true"><Label value="Cup"/></RectangleLabels>
</View>
"""


@pytest.fixture(scope="module")
def data_url(photo: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(photo).decode()


@pytest.fixture(scope="module")
def labelled(settings: ServeSettings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    own = replace(settings, folder=tmp_path_factory.mktemp("labelled"), labels=("square", "disc"))
    with TestClient(create_app(own), base_url=HOST) as http:
        yield http


def ls_predict(http: TestClient, data_url: str, drawn: list[dict[str, Any]], config: str = CONFIG) -> dict[str, Any]:
    body = {
        "tasks": [{"id": 1, "data": {"picture": data_url}}],
        "project": "3.1700000000",
        "label_config": config,
        "params": {"login": None, "password": None, "context": {"result": drawn} if drawn else None},
    }
    answer = http.post("/predict", json=body)
    assert answer.status_code == 200, answer.text
    (result,) = answer.json()["results"]
    return result


def keypoint(x: float, y: float, **more: Any) -> dict[str, Any]:
    value = {"x": x, "y": y, "width": 0.5, "keypointlabels": ["Cup"]}
    return {"id": "k", "type": "keypointlabels", "from_name": "points", "to_name": "photo", "value": value} | more


# --- Label Studio -------------------------------------------------------------------------------------------------


def test_label_studio_connects(http: TestClient) -> None:
    assert http.get("/health").json()["status"] == "UP"
    setup = {
        "project": "3.1",
        "schema": CONFIG,
        "hostname": "http://ls.test",
        "access_token": "t",
        "extra_params": None,
    }
    assert http.post("/setup", json=setup).json() == {"model_version": "masklet"}
    assert http.post("/webhook", json={"action": "ANNOTATION_CREATED", "project": {"id": 3}}).status_code == 201


def test_label_studio_gets_the_mask_of_clicks_in_its_own_runs(http: TestClient, data_url: str) -> None:
    brush = pytest.importorskip("label_studio_sdk.converter.brush", reason="label-studio-sdk is not installed")
    result = ls_predict(http, data_url, [keypoint(20, 30), keypoint(80, 80, is_positive=False)])
    (region,) = result["result"]
    assert (region["type"], region["from_name"], region["to_name"]) == ("brushlabels", "brush", "photo")
    assert region["value"]["brushlabels"] == ["Cup"]
    pixels = brush.decode_rle(region["value"]["rle"]).reshape(64, 96, 4)
    from masklet.client import Client
    from masklet.serve.schemas import ClickPrompt2D

    prompt = ClickPrompt2D(points=[(0.2 * 96, 0.3 * 64), (0.8 * 96, 0.8 * 64)], labels=[1, 0])
    photo = base64.b64decode(data_url.partition(",")[2])
    (instance,) = Client(http=http).segment(photo, [prompt]).prompts[0].instances
    assert instance.mask.rle is not None
    assert np.array_equal(pixels[..., 3] > 0, rle_decode(instance.mask.rle.counts, 64, 96))


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_brushes_are_read_by_label_studios_own_decoder(height: int, width: int, seed: int) -> None:
    brush = pytest.importorskip("label_studio_sdk.converter.brush", reason="label-studio-sdk is not installed")
    mask = np.random.default_rng(seed).random((height, width)) < 0.5
    assert np.array_equal(brush.decode_rle(pack_brush(mask)).reshape(height, width, 4)[..., 3] > 0, mask)


@pytest.mark.parametrize("tag", ["PolygonLabels", "BitmaskLabels", "RectangleLabels"])
def test_label_studio_gets_what_its_interface_draws(http: TestClient, data_url: str, tag: str) -> None:
    config = CONFIG.replace("BrushLabels", tag).replace('<RectangleLabels name="boxes"', '<Other name="boxes"')
    config = config.replace('<Label value="Cup"/></RectangleLabels>\n</View>', '<Label value="Cup"/></Other>\n</View>')
    box = {"x": 10, "y": 15, "width": 22, "height": 32, "rotation": 0, "rectanglelabels": ["Cup"]}
    drawn = [{"id": "r", "type": "rectanglelabels", "from_name": "boxes", "to_name": "photo", "value": box}]
    regions = ls_predict(http, data_url, drawn, config)["result"]
    assert {region["type"] for region in regions} == {tag.lower()}
    for region in regions:
        assert (region["original_width"], region["original_height"]) == (96, 64)
        value = region["value"]
        if tag == "PolygonLabels":
            assert all(0 <= number <= 100 for point in value["points"] for number in point)
        elif tag == "BitmaskLabels":
            assert value["imageDataURL"].startswith("data:image/png;base64,iVBOR")


def test_a_phrase_of_a_text_area_finds_instances_under_its_label(http: TestClient, data_url: str) -> None:
    drawn = [{"id": "t", "type": "textarea", "from_name": "phrase", "to_name": "photo", "value": {"text": ["mug"]}}]
    for region in ls_predict(http, data_url, drawn)["result"]:
        assert region["value"]["brushlabels"] == ["Cup"]


def test_there_is_a_result_for_every_task_also_where_one_fails(http: TestClient, data_url: str) -> None:
    bad = ["/data/local-files/?d=../../etc/passwd", "http://127.0.0.1:1/x.png", "file:///etc/passwd", "", 7]
    tasks = [{"id": place, "data": {"picture": value}} for place, value in enumerate([*bad, data_url])]
    answer = http.post("/predict", json={"tasks": tasks, "project": "9.9", "label_config": CONFIG}).json()
    assert len(answer["results"]) == len(tasks)
    for result in answer["results"][: len(bad)]:
        assert "result" not in result  # Label Studio would keep an empty one, and not ask for the task again
        assert result["error"]
    clicked = {"context": {"result": [keypoint(20, 30)]}}
    body = {"tasks": tasks[:1], "project": "9.9", "label_config": CONFIG, "params": clicked}
    (shown,) = http.post("/predict", json=body).json()["results"]
    assert (shown["result"], "connect the backend anew" in shown["error"]) == ([], True)


def test_nothing_goes_on_for_a_client_that_has_gone(
    http: TestClient, data_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failed task is one result among others; that nobody waits any more, or that the server ends, is not."""
    asked = list[int]()

    def session(_data: bytes) -> Any:
        asked.append(1)
        raise given_up()

    monkeypatch.setattr(http.app.state.server.encoded, "session", session)  # type: ignore[attr-defined]
    tasks = [{"id": place, "data": {"picture": data_url}} for place in range(3)]
    answer = http.post("/predict", json={"tasks": tasks, "project": "9.9", "label_config": CONFIG})
    assert (answer.status_code, len(asked)) == (499, 1)
    marks = {"text_prompt": "square"}
    assert http.post("/anylabeling/v1/predict", json={"image": data_url, "params": marks}).status_code == 499


def test_a_token_that_label_studio_refuses_is_explained(settings: ServeSettings, tmp_path: Path) -> None:
    class Refusing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(401 if self.headers.get("Authorization") == "Token legacy" else 404)

        def log_message(self, *_: object) -> None: ...

    own = replace(settings, folder=tmp_path, hosts=("127.0.0.1",), private_hosts=("127.0.0.1",))
    with HTTPServer(("127.0.0.1", 0), Refusing) as studio, TestClient(create_app(own), base_url=HOST) as http:
        threading.Thread(target=studio.serve_forever, daemon=True).start()
        hostname = f"http://127.0.0.1:{studio.server_address[1]}"
        http.post("/setup", json={"project": "8.1", "hostname": hostname, "access_token": "legacy"})
        tasks = [{"id": 1, "data": {"picture": "/data/upload/1/a.png"}}]
        answer = http.post("/predict", json={"tasks": tasks, "project": "8.1", "label_config": CONFIG}).json()
        studio.shutdown()
    assert "answers 401: Label Studio refuses the token" in answer["results"][0]["error"]


def test_an_interface_that_defines_entities_is_refused(http: TestClient) -> None:
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaa">]><View>&a;</View>'
    answer = http.post("/predict", json={"tasks": [], "label_config": bomb})
    assert (answer.status_code, "entities" in answer.json()["error"]) == (400, True)


def test_labels_are_read_with_their_phrases() -> None:
    config = parse_config(CONFIG)
    control = config.output()
    assert (control.name, control.least) == ("brush", 0.0)
    assert config.all_phrases(control.labels) == {"mug": "Cup", "cup": "Cup", "Plate": "Plate"}
    assert config.label_of("Mug", control) == "Cup"


# --- CVAT ---------------------------------------------------------------------------------------------------------


def test_cvat_lists_and_calls_functions(labelled: TestClient, photo: bytes) -> None:
    headers = {"x-nuclio-project-name": "cvat", "x-nuclio-function-namespace": "nuclio", "x-nuclio-path": "/"}
    functions = labelled.get("/api/functions", headers=headers).json()
    assert set(functions) == {"masklet-detector", "masklet-interactor"}
    for key, found in functions.items():
        assert found["metadata"]["name"] == key
        assert found["status"]["state"] == "ready"
        assert labelled.get(f"/api/functions/{key}").json() == found
    spec = json.loads(functions["masklet-detector"]["metadata"]["annotations"]["spec"])
    assert [each["name"] for each in spec] == ["square", "disc"]
    image = base64.b64encode(photo).decode()
    call = {"image": image, "pos_points": [[20, 20]], "neg_points": [[70, 40]], "obj_bbox": None}
    clicked = labelled.post(
        "/api/function_invocations", json=call, headers={**headers, "x-nuclio-function-name": "masklet-interactor"}
    )
    mask = np.array(clicked.json()["mask"])
    assert mask.shape == (64, 96)
    assert set(np.unique(mask)) <= {0, 1}
    boxed = {"image": image, "pos_points": [], "neg_points": [], "obj_bbox": [[8, 8], [34, 34]]}
    interactor = {**headers, "x-nuclio-function-name": "masklet-interactor"}
    assert np.shape(labelled.post("/api/function_invocations", json=boxed, headers=interactor).json()["mask"]) == (
        64,
        96,
    )
    detected = labelled.post(
        "/api/function_invocations",
        json={"image": image, "threshold": 0.0},
        headers={**headers, "x-nuclio-function-name": "masklet-detector"},
    ).json()
    for row in detected:
        x0, y0, x1, y1 = row["mask"][-4:]
        assert len(row["mask"]) - 4 == (x1 - x0 + 1) * (y1 - y0 + 1)
        assert row["label"] in ("square", "disc")
    assert labelled.post("/api/function_invocations", json=call).status_code == 404


def test_masks_are_as_cvats_own_package_writes_them() -> None:
    masks = pytest.importorskip("cvat_sdk.masks", reason="cvat-sdk is not installed")
    rng = np.random.default_rng(1)
    for _ in range(50):
        mask = np.zeros((12, 17), bool)
        top, left, height, width = rng.integers(0, 6), rng.integers(0, 8), rng.integers(1, 6), rng.integers(1, 9)
        mask[top : top + height, left : left + width] = rng.random((height, width)) < 0.6
        if mask.any():
            assert cvat_runs(mask) == masks.encode_mask(mask)
            rows, columns = np.nonzero(mask)
            assert cvat_bitmap(mask)[-4:] == [columns.min(), rows.min(), columns.max(), rows.max()]


class _Context:
    conf_threshold, conv_mask_to_poly, original_shape_type = 0.0, False, "rectangle"


class _Prompts:
    pos_points, neg_points, bounding_box = [(20.0, 20.0)], [], ((8.0, 8.0), (34.0, 34.0))


def test_the_function_file_is_one_that_cvats_tools_take(base: Path) -> None:
    pytest.importorskip("cvat_sdk.auto_annotation", reason="cvat-sdk is not installed")
    import cvat_sdk.auto_annotation as cvat

    from masklet.serve.bridges.cvat_function import create

    image = Image.new("RGB", (96, 64), "grey")
    detector = create(labels="square;disc", model=str(base), device="cpu")
    assert isinstance(detector.spec, cvat.DetectionFunctionSpec)
    labels = [(label.name, label.type) for label in detector.spec.labels]
    assert labels == [("square", "mask"), ("disc", "mask")]  # a task of polygons is refused before a frame is asked
    shapes = detector.detect(_Context(), image)  # type: ignore[union-attr]
    assert all(type(shape).__name__ == "LabeledShapeRequest" for shape in shapes)
    interactor = create(kind="interact", model=str(base), device="cpu")
    seen = interactor.preprocess_image(_Context(), image)  # type: ignore[union-attr]
    for shape in interactor.detect(_Context(), seen, _Prompts()):  # type: ignore[union-attr]
        assert shape.type == "mask"
    tracker = create(kind="track", model=str(base), device="cpu")
    pixels = tracker.preprocess_image(_Context(), image)  # type: ignore[union-attr]
    shape = cvat.TrackableShape(type="rectangle", points=[8.0, 8.0, 34.0, 34.0])
    state = tracker.init_tracking_state(_Context(), pixels, shape)  # type: ignore[union-attr]
    followed = tracker.track(_Context(), pixels, state)  # type: ignore[union-attr]
    assert followed is None or len(followed.points) == 4


def filled(polygons: list[Any]) -> np.ndarray:
    return polygons_to_mask([np.array(each) for each in polygons], 64, 96)


# --- X-AnyLabeling and Roboflow -----------------------------------------------------------------------------------


def test_x_anylabeling_predicts_and_keeps_what_is_there(http: TestClient, data_url: str) -> None:
    models = http.get("/anylabeling/v1/models").json()
    assert models["success"]
    assert "edit_text" in [each["name"] for each in models["data"]["masklet"]["widgets"]]
    marks = [{"type": "point", "label": 1, "data": [20, 20]}]
    body = {"model": "masklet", "image": data_url, "params": {"marks": marks, "show_boxes": True}}
    answer = http.post("/anylabeling/v1/predict", json=body).json()
    assert answer["success"]
    assert answer["data"]["replace"] is False
    for shape in answer["data"]["shapes"]:
        assert shape["shape_type"] in ("polygon", "rectangle")
        assert shape["shape_type"] == "rectangle" or shape["points"][0] == shape["points"][-1]
    words = {"text_prompt": "square. disc, ", "conf_threshold": 0.0}
    found = http.post("/anylabeling/v1/predict", json={"image": data_url, "params": words}).json()
    assert {shape["label"] for shape in found["data"]["shapes"]} <= {"square", "disc"}
    wrong = http.post("/anylabeling/v1/predict", json={"image": "!!", "params": {}})
    assert (wrong.status_code, wrong.json()["success"]) == (200, False)


def test_roboflow_shaped_prompts_are_answered_one_by_one(http: TestClient, photo: bytes) -> None:
    image = {"type": "base64", "value": base64.b64encode(photo).decode()}
    prompts = [
        {"type": "text", "text": "square"},
        {"type": "visual", "boxes": [{"x": 10, "y": 10, "width": 20, "height": 20}], "box_labels": [1]},
        {"type": "visual", "boxes": [{"x0": 90, "y0": 0, "x1": 900, "y1": 20}]},
    ]
    body = {"model_id": "sam3/sam3_final", "image": image, "prompts": prompts, "output_prob_thresh": 0}
    for form in ("polygon", "rle"):
        answer = http.post("/sam3/concept_segment", json={**body, "format": form}).json()
        assert [each["prompt_index"] for each in answer["prompt_results"]] == [0, 1, 2]
        assert "not inside" in answer["prompt_results"][2]["error"]
        for prediction in answer["prompt_results"][0]["predictions"]:
            masks = prediction["masks"]
            pixels = rle_decode(masks["counts"], *masks["size"]) if form == "rle" else filled(masks)
            assert pixels.any()
    url = {**body, "image": {"type": "url", "value": "http://127.0.0.1:1/"}}
    assert http.post("/sam3/concept_segment", json=url).status_code == 400


# --- videos of Label Studio ---------------------------------------------------------------------------------------

VIDEO_CONFIG = """
<View>
  <Labels name="labels" toName="video"><Label value="Square" predicted_values="red square"/></Labels>
  <Video name="video" value="$clip"/>
  <VideoRectangle name="box" toName="video"/>
</View>
"""


def test_a_video_of_label_studio_is_followed_from_end_to_end(http: TestClient, clip: Path) -> None:
    address = "data:video/mp4;base64," + base64.b64encode(clip.read_bytes()).decode()
    body = {"tasks": [{"id": 1, "data": {"clip": address}}], "label_config": VIDEO_CONFIG}
    (result,) = http.post("/predict", json=body).json()["results"]
    assert "error" not in result
    for region in result["result"]:
        assert (region["type"], region["from_name"], region["to_name"]) == ("videorectangle", "box", "video")
        assert region["value"]["framesCount"] == 12
        assert region["value"]["labels"] == ["Square"]


def test_key_frames_count_from_one_and_end_where_an_object_disappears() -> None:
    frames = [0, 1, 2, 3, 4, 5, 6, 9, 10]
    seen = [Sighting(frame=each, time=each / 10, box=(9.6, 6.4, 19.2, 12.8)) for each in frames]
    keys = sequence_of(seen, (64, 96))
    assert [(each["frame"], each["enabled"]) for each in keys] == [
        (1, True),
        (6, True),
        (7, False),
        (10, True),
        (11, False),
    ]
    first = {name: keys[0][name] for name in ("x", "y", "width", "height")}
    assert first == {"x": 10.0, "y": 10.0, "width": 10.0, "height": 10.0}
