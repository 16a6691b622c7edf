"""Videos for Label Studio: every instance of each label followed, as rectangles at key frames."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from masklet.errors import InputError
from masklet.inference.video.frame_result import FrameResult
from masklet.serve.bridges.label_config import Control, LabelConfig
from masklet.serve.lane import LATER
from masklet.serve.state import ServerState
from masklet.serve.uploads import check_frame, is_video

KEY_FRAMES = 5  # one of so many frames is written; Label Studio draws a straight way between
MOST_FRAMES = 1500  # Label Studio waits a hundred seconds


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """An object on a frame, which is counted from 0; the box is x0, y0, x1, y1 in pixels."""

    frame: int
    time: float
    box: tuple[float, float, float, float]


def follow_labels(data: bytes, config: LabelConfig, control: Control, server: ServerState) -> list[dict[str, Any]]:
    """Regions of a video file, one for each object. Raises: InputError when it is no video, or there are no labels."""
    labels = next((each.labels for each in config.controls if each.labels and each.to_name == control.to_name), ())
    phrases = config.all_phrases(labels)
    if not phrases:
        raise InputError("the labelling interface has no labels to follow")
    with TemporaryDirectory(prefix="masklet-video-") as folder:
        path = Path(folder) / "video.mp4"
        path.write_bytes(data)
        if not is_video(path):
            raise InputError("the file is no video of a kind that is read here")
        with server.host.get().open_video(path) as session:
            check_frame(session.size, server.settings.limits)
            with server.host.lane.turn():
                session.add_concept(list(phrases), frame=0)
            frames, results = session.track(stop=MOST_FRAMES), list[FrameResult]()
            while True:
                with server.host.lane.turn(LATER):
                    result = next(frames, None)
                if result is None:
                    break
                results.append(result)
            count = session.num_frames or len(results)
            duration = count / (session.fps or 25)
            return regions_of_tracks(results, phrases, control, session.size, (count, duration))


def regions_of_tracks(
    results: Sequence[FrameResult],
    phrases: Mapping[str, str],
    control: Control,
    size: tuple[int, int],
    length: tuple[int, float],
) -> list[dict[str, Any]]:
    """Results in the order of the video as regions; `length` is the number of frames, and the seconds."""
    tracks: dict[int, list[Sighting]] = {}
    labels: dict[int, str] = {}
    for result in results:
        for place, number in enumerate(result.ids.tolist()):
            x0, y0, x1, y1 = (float(value) for value in result.boxes[place])
            sighting = Sighting(frame=result.index, time=result.time, box=(x0, y0, x1, y1))
            tracks.setdefault(number, []).append(sighting)
            labels[number] = phrases.get(result.phrases[place], result.phrases[place])
    regions = []
    for number, seen in sorted(tracks.items()):
        value = {"framesCount": length[0], "duration": round(length[1], 3), "sequence": sequence_of(seen, size)}
        key = hashlib.sha256(f"{number} {value}".encode()).hexdigest()[:10]
        common = {"id": key, "from_name": control.name, "to_name": control.to_name, "type": "videorectangle"}
        regions.append(common | {"origin": "prediction", "value": value | {"labels": [labels[number]]}})
    return regions


def sequence_of(seen: Sequence[Sighting], size: tuple[int, int]) -> list[dict[str, Any]]:
    """Key frames of one object: the first and the last of each stretch, and some between. Frames count from 1 there."""
    height, width = size
    keys = []
    for place, each in enumerate(seen):
        begins = place == 0 or seen[place - 1].frame != each.frame - 1
        ends = place == len(seen) - 1 or seen[place + 1].frame != each.frame + 1
        if not (begins or ends or each.frame % KEY_FRAMES == 0):
            continue
        x0, y0, x1, y1 = each.box
        across, down = 100 / width, 100 / height
        row = {"x": x0 * across, "y": y0 * down, "width": (x1 - x0) * across, "height": (y1 - y0) * down}
        numbers = {name: round(value, 4) for name, value in row.items()} | {"rotation": 0, "enabled": not ends}
        keys.append({"frame": each.frame + 1, "time": round(each.time, 4)} | numbers)
    return keys
