"""Interactive videos of other programs: X-AnyLabeling's sessions, and the events of Label Studio."""

import base64
import io
import json
import time
from pathlib import Path
from typing import Any

import av
import numpy as np
from fastapi.testclient import TestClient

from masklet.ops.masks import rle_encode
from masklet.serve.bridges.anylabeling import AnyLabelingParams
from masklet.serve.bridges.anylabeling_video import shapes_of_frame
from masklet.serve.schemas import FrameObjects

VIDEO_CONFIG = """
<View>
  <Labels name="labels" toName="video"><Label value="Square" predicted_values="red square"/></Labels>
  <Video name="video" value="$clip"/>
  <VideoRectangle name="box" toName="video"/>
</View>
"""


def frames_of_clip(clip: Path) -> list[str]:
    with av.open(str(clip)) as container:
        pictures = [frame.to_image() for frame in container.decode(video=0)]
    made = []
    for picture in pictures:
        file = io.BytesIO()
        picture.save(file, "JPEG")
        made.append("data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode())
    return made


def video_call(http: TestClient, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    answer = http.post(f"/anylabeling/v1/video/{path}", json=body or {})
    assert answer.status_code == 200
    return answer.json()


def test_x_anylabeling_follows_an_object_through_frames(http: TestClient, clip: Path) -> None:
    opened = video_call(http, "init", {"model": "masklet-video", "frames": frames_of_clip(clip)})["data"]
    assert opened["num_frames"] == 12
    key = opened["session_id"]
    point = {"session_id": key, "points": [[0.2, 0.45]], "point_labels": [1], "obj_id": 10000, "frame_index": 2}
    prompted = video_call(http, "prompt", point)["data"]
    assert prompted["frame_index"] == 2
    assert {shape["group_id"] for shape in prompted["masks"]} <= {10000}  # an untrained model may see nothing there
    run = {"session_id": key, "start_frame": 2, "end_frame": 6}
    with http.stream("POST", "/anylabeling/v1/video/propagate/stream", json=run) as answer:
        lines = [line for line in answer.iter_lines() if line.startswith("data: ")]
    events = [json.loads(line[6:]) for line in lines]
    assert [each["type"] for each in events] == ["started", *["progress"] * 5, "completed"]
    assert [each["current_frame"] for each in events[1:-1]] == [2, 3, 4, 5, 6]
    assert list(events[1]["results"]) == ["2"]  # what is cancelled later is not lost
    assert list(events[-1]["results"]) == ["2", "3", "4", "5", "6"]
    task = video_call(http, "propagate", {"session_id": key, "start_frame": 7})["data"]["task_id"]
    while (state := http.get(f"/anylabeling/v1/video/status/{task}").json()["data"])["status"] == "processing":
        time.sleep(0.05)
    assert state["status"] == "completed"
    assert list(state["results"]) == ["7", "8", "9", "10", "11"]
    assert video_call(http, f"cleanup/{key}")["success"]
    gone = video_call(http, "prompt", point)
    assert (gone["success"], gone["error"]["code"]) == (False, "INVALID_REQUEST")


def test_objects_of_a_frame_are_shapes_with_the_ids_of_objects() -> None:
    mask = np.zeros((64, 96), bool)
    mask[10:30, 20:50] = True
    same = {"scores": [0.9], "object_scores": [0.8], "precedence": [1.0], "rles": [rle_encode(mask)]}
    frame = FrameObjects(index=3, time=0.3, size=(64, 96), ids=[7], concepts=["cup"], clicked=[], **same)
    polygon, box = shapes_of_frame(frame, AnyLabelingParams(show_boxes=True))
    assert (polygon["label"], polygon["group_id"], polygon["score"]) == ("cup", 7, 0.8)
    assert polygon["points"][0] == polygon["points"][-1]
    assert (box["shape_type"], box["points"]) == ("rectangle", [[20.0, 10.0], [50.0, 10.0], [50.0, 30.0], [20.0, 30.0]])
    clicked = frame.model_copy(update={"clicked": [7]})
    assert shapes_of_frame(clicked, AnyLabelingParams())[0]["label"] == "object"


def test_x_anylabeling_follows_a_phrase_and_says_what_is_wrong(http: TestClient, clip: Path) -> None:
    assert "masklet-video" in http.get("/anylabeling/v1/models").json()["data"]
    assert not video_call(http, "init", {"frames": ["!!"]})["success"]
    frames = frames_of_clip(clip)[:3]
    key = video_call(http, "init", {"frames": frames})["data"]["session_id"]
    nothing = video_call(http, "propagate/stream", {"session_id": key})
    assert "nothing to track" in nothing["error"]["message"]
    found = video_call(http, "prompt", {"session_id": key, "text_prompt": "square. disc"})
    assert {shape["label"] for shape in found["data"]["masks"]} <= {"square", "disc"}
    assert not video_call(http, "prompt", {"session_id": key, "text_prompt": " "})["success"]
    assert video_call(http, f"cleanup/{key}")["success"]


def event(http: TestClient, clip: Path, name: str, **context: Any) -> dict[str, Any]:
    address = "data:video/mp4;base64," + base64.b64encode(clip.read_bytes()).decode()
    body = {"tasks": [{"id": 7, "data": {"clip": address}}], "label_config": VIDEO_CONFIG, "project": "3.1"}
    (answer,) = http.post("/predict", json={**body, "params": {"context": {"event": name, **context}}}).json()[
        "results"
    ]
    assert "error" not in answer
    (region,) = answer["result"]
    return region


def test_interactive_events_of_label_studio_on_a_video(http: TestClient, clip: Path) -> None:
    assert event(http, clip, "capabilities")["value"]["prompts"] == ["point", "box"]
    assert event(http, clip, "prewarm", frame=1, window=20)["value"]["frame_count"] == 12
    point = {"type": "keypointlabels", "value": {"x": 20, "y": 45, "positive": True}}
    shown = event(http, clip, "predict", time_ms=200, frame=99, result=[point])
    assert shown["type"] == "bitmask"
    assert (shown["value"]["width"], shown["value"]["height"]) == (96, 64)
    assert shown["value"]["imageDataURL"].startswith("data:image/png;base64,")
    box = {"type": "rectanglelabels", "value": {"x": 8, "y": 31, "width": 22, "height": 32}}
    begun = event(http, clip, "track", frame=3, direction="both", max_frames=4, result=[box])
    assert begun["type"] == "track_started"
    session, frames = begun["value"]["session_id"], list[int]()
    while True:
        progress = event(http, clip, "track_progress", session_id=session)["value"]
        frames += [each["frame"] for each in progress["frames"]]
        assert all(each["time_ms"] == each["frame"] * 100 for each in progress["frames"])
        if progress["done"]:
            break
    assert progress["error"] is None
    assert set(frames) <= set(range(7))
    assert len(frames) == len(set(frames))
    assert event(http, clip, "track_cancel", session_id=session)["type"] == "track_cancel_ack"
    assert event(http, clip, "release")["value"]["status"] == "released"
    over = event(http, clip, "track_progress", session_id=session)["value"]
    assert (over["done"], over["frames"]) == (True, [])
