"""The simulated user of `interactive` on videos: one object at a time, three clicks on each corrected frame.

Offline, the user sees the whole clip after each pass and corrects the worst frame. Online, the clip is played once: the
user pauses it where the object is about to be lost. Clips begin where their object first appears.

Source: SAM 2 paper, interactive evaluation.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from masklet.errors import InputError
from masklet.eval.users.interactive import next_click
from masklet.eval.videos.vos import region_similarity, score_masklet
from masklet.eval.videos.vos_files import FolderVideo
from masklet.media.suffixes import find_by_stem
from masklet.protocols import FrameInstances, Segmenter, VideoSegmenter

CLICKS_PER_FRAME = 3
MAX_FRAMES = 8  # corrected by a user
STOP_IOU = 0.75  # online, the first frame below it is corrected

OBJECT = 0

Clip = Bool[np.ndarray, "frame height width"]


@dataclass(frozen=True, kw_only=True)
class CorrectedObject:
    """J&F of one object over its clip by the number of frames that were clicked on: 1, 2, ..."""

    video: str
    object_id: int
    offline: Float[np.ndarray, " clicked"]
    online: Float[np.ndarray, " clicked"]


def find_objects(truth: Path, images: Path) -> list[tuple[FolderVideo, tuple[Path, ...], int]]:
    """Every object of every video of two folders, with the images of the labelled frames.

    `truth` holds a folder of indexed images for each video, as DAVIS has it, and `images` one of its frames.

    Raises: InputError naming what is missing.
    """
    folders = sorted(folder for folder in truth.iterdir() if folder.is_dir())
    if not folders:
        raise InputError(f"{truth} holds no folders; it should hold one for each video")
    found = []
    for folder in folders:
        names = tuple(path.name for path in sorted(folder.glob("*.png")))
        video = FolderVideo(folder, folder, names)
        frames = []
        for name in names:
            frame = find_by_stem(images / folder.name, Path(name).stem)
            if frame is None:
                raise InputError(f"{images / folder.name} has no frame {Path(name).stem}")
            frames.append(frame)
        found += [(video, tuple(frames), object_id) for masks, _ in islice(video.frames(), 1) for object_id in masks]
    if not found:
        raise InputError(f"{truth} shows no object on any frame")
    return found


def follow_objects(
    objects: Sequence[tuple[FolderVideo, tuple[Path, ...], int]],
    clicker: Segmenter,
    *,
    num_frames: int = MAX_FRAMES,
    advance: Callable[[], object] = lambda: None,
) -> Iterator[CorrectedObject]:
    """Every object offline and online; `advance` is called after each. Raises: InputError."""
    for video, frames, object_id in objects:
        masks = [truths[object_id] for truths, _ in video.frames()]
        if len({mask.shape for mask in masks}) > 1:
            raise InputError(f"{video.truth}: its images differ in size")
        truth = np.stack(masks)
        first = int(truth.any(axis=(1, 2)).argmax())
        try:
            offline = follow_offline(clicker, frames[first:], truth[first:], num_frames)
            online = follow_online(clicker, frames[first:], truth[first:], num_frames)
        except InputError as error:
            raise InputError(f"{video.name}: {error}") from error
        yield CorrectedObject(video=video.name, object_id=object_id, offline=offline, online=online)
        advance()


def follow_offline(
    clicker: Segmenter, frames: Sequence[Path], truth: Clip, num_frames: int
) -> Float[np.ndarray, " clicked"]:
    """J&F after each pass over the clip; before each further pass the worst frame is clicked on."""
    predicted, scores, frame = np.zeros_like(truth), [], 0
    with closing(clicker.open_video(frames)) as session:
        while len(scores) < num_frames:
            click_frame(session, frame, truth[frame], predicted[frame])
            for result in session.track(start=0):
                predicted[result.index] = _mask(result, truth.shape[1:])
            scores.append(score_masklet(truth, predicted).j_and_f)
            overlaps = [region_similarity(*pair) for pair in zip(truth, predicted, strict=True)]
            frame = int(np.argmin(overlaps))
            if overlaps[frame] == 1:
                break
    return _padded(scores, num_frames)


def follow_online(
    clicker: Segmenter, frames: Sequence[Path], truth: Clip, num_frames: int
) -> Float[np.ndarray, " clicked"]:
    """J&F of one pass over the clip for each number of frames that may be clicked on."""
    scores = []
    for allowed in range(1, num_frames + 1):
        predicted, num_clicked = _play(clicker, frames, truth, allowed)
        scores.append(score_masklet(truth, predicted).j_and_f)
        if num_clicked < allowed:  # more corrections would change nothing
            break
    return _padded(scores, num_frames)


def _play(clicker: Segmenter, frames: Sequence[Path], truth: Clip, allowed: int) -> tuple[Clip, int]:
    """The masks of one pass over the clip, and the number of frames clicked on."""
    predicted, num_clicked, at = np.zeros_like(truth), 1, 0
    with closing(clicker.open_video(frames)) as session:
        click_frame(session, 0, truth[0], predicted[0])
        while at is not None:
            begin, at = at, None
            for result in session.track(start=begin):
                frame = result.index
                predicted[frame] = _mask(result, truth.shape[1:])
                is_lost = region_similarity(truth[frame], predicted[frame]) < STOP_IOU
                if is_lost and frame > begin and num_clicked < allowed:
                    predicted[frame] = click_frame(session, frame, truth[frame], predicted[frame])
                    num_clicked, at = num_clicked + 1, frame
                    break
    return predicted, num_clicked


def click_frame(
    session: VideoSegmenter,
    frame: int,
    truth: Bool[np.ndarray, "height width"],
    predicted: Bool[np.ndarray, "height width"],
) -> Bool[np.ndarray, "height width"]:
    """The mask after `CLICKS_PER_FRAME` clicks, each on the largest error that is left."""
    for _ in range(CLICKS_PER_FRAME):
        click = next_click(truth, predicted)
        if click is None:
            break
        result = session.click(OBJECT, frame, [(click.x, click.y)], [click.label], add=True)
        predicted = _mask(result, truth.shape)
    return predicted


def _mask(result: FrameInstances, size: tuple[int, ...]) -> Bool[np.ndarray, "height width"]:
    """The mask of the one object; empty where it is not visible."""
    mask = result.mask(0) if len(result) else np.zeros(size, dtype=bool)
    if mask.shape != size:
        sizes = [" x ".join(map(str, reversed(shape))) for shape in (mask.shape, size)]
        raise InputError(f"the frames are {sizes[0]} pixels, and their annotations {sizes[1]}")
    return mask


def _padded(scores: list[float], length: int) -> Float[np.ndarray, " clicked"]:
    return np.array(scores + scores[-1:] * (length - len(scores)))


def video_figures(objects: Sequence[CorrectedObject]) -> dict[str, Any]:
    """Mean J&F over objects by the number of frames clicked on."""
    return {
        "objects": len(objects),
        "videos": len({each.video for each in objects}),
        "offline_J&F": np.mean([each.offline for each in objects], axis=0).tolist(),
        "online_J&F": np.mean([each.online for each in objects], axis=0).tolist(),
    }
