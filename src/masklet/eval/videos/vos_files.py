"""Objects of videos that were given and followed, from files: folders in the DAVIS layout, or YouTube-VIS files.

The label images of the truth say which frames there are, the ids on them which objects. An object that is missing on a
predicted image is empty there, as in the DAVIS evaluation, and as there, a missing image, a missing video and an object
that the truth does not have are errors.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from jaxtyping import Bool

from masklet.errors import InputError
from masklet.eval.processes import map_in_processes
from masklet.eval.videos.video_files import Masklet, Video, read_truth
from masklet.eval.videos.vos import MaskletScore, boundary_radius, boundary_similarity, region_similarity
from masklet.formats.davis import list_videos, object_ids
from masklet.formats.records import Id, id_order
from masklet.media.images import read_numbers
from masklet.ops.masks import rle_decode

Frame = TypeVar("Frame")
Masks = Mapping[Id, Bool[np.ndarray, "height width"]]


@dataclass(frozen=True)
class FolderVideo:
    """A video as two folders with label images of the same names."""

    truth: Path
    predictions: Path
    file_names: tuple[str, ...]

    @property
    def name(self) -> str:
        """The folder's."""
        return self.truth.name

    def frames(self) -> Iterator[tuple[Masks, Masks]]:
        """True and predicted masks of each frame that counts, one of each object in both; it may be empty.

        Objects are those on any true image, frames that do not count included.
        """
        ids = sorted({each for path in self.truth.glob("[!.]*.png") for each in object_ids(read_numbers(path))})
        for name in self.file_names:
            truth, predicted = read_numbers(self.truth / name), read_numbers(self.predictions / name)
            if truth.shape != predicted.shape:
                sizes = [" x ".join(map(str, each.shape)) for each in (predicted, truth)]
                raise InputError(f"{self.predictions / name} is {sizes[0]} pixels, and the truth is {sizes[1]}")
            unknown = set(object_ids(predicted)).difference(ids)
            if unknown:
                raise InputError(f"{self.predictions / name}: the truth has no object {min(unknown)}")
            yield {each: truth == each for each in ids}, {each: predicted == each for each in ids}


@dataclass(frozen=True, kw_only=True)
class FileVideo:
    """A video of two files of masklets; `counted` are the frames that count."""

    video: Video
    truths: Mapping[Id, Masklet]
    predictions: Mapping[Id, Masklet]
    counted: Sequence[int]

    @property
    def name(self) -> str:
        """The video's, with its id where a file gives no name."""
        return self.video.name

    def frames(self) -> Iterator[tuple[Masks, Masks]]:
        """As of a folder; objects are the true annotations."""
        for frame in self.counted:
            yield self._masks(self.truths, frame), self._masks(self.predictions, frame)

    def _masks(self, masklets: Mapping[Id, Masklet], frame: int) -> Masks:
        return {each: self._mask(masklets.get(each), frame) for each in self.truths}

    def _mask(self, masklet: Masklet | None, frame: int) -> Bool[np.ndarray, "height width"]:
        if masklet is None or frame not in masklet.frames:
            return np.zeros((self.video.height, self.video.width), bool)
        counts = masklet.counts[int(np.searchsorted(masklet.frames, frame))]
        try:
            return rle_decode(counts, self.video.height, self.video.width)
        except ValueError as error:
            raise InputError(f"{masklet.record}: segmentations.{frame}.counts: {error}") from error


FollowedVideo = FolderVideo | FileVideo


def find_videos(truth: Path, predictions: Path, *, all_frames: bool = False) -> list[FollowedVideo]:
    """The videos of two folders or of two files, where an object goes by the id of its annotation.

    The first and the last frame do not count, as in the DAVIS protocol, unless `all_frames` are asked for.

    Raises: InputError naming the video, image or object that is missing.
    """
    if truth.is_dir() != predictions.is_dir():
        raise InputError(f"{truth} and {predictions} must be two folders or two files")
    find = _folders if truth.is_dir() else _file_videos
    return [*find(truth, predictions, all_frames=all_frames)]


def score_objects(video: FollowedVideo) -> dict[Id, MaskletScore]:
    """J and F of each object. A frame where it is neither there nor predicted scores 1.

    Raises: InputError when there is no object, or naming an image or record that cannot be used.
    """
    values: dict[Id, list[tuple[float, float]]] = {}
    for truths, predictions in video.frames():
        for object_id, truth in truths.items():
            pair = truth, predictions[object_id]
            both = region_similarity(*pair), boundary_similarity(*pair, boundary_radius(*truth.shape))
            values.setdefault(object_id, []).append(both)
    if not values:
        raise InputError(f"{video.name}: the truth has no object")
    curves = {object_id: np.array(each).T for object_id, each in values.items()}
    return {each: MaskletScore(region=region, boundary=boundary) for each, (region, boundary) in curves.items()}


def score_followed(
    videos: Sequence[FollowedVideo], processes: int = 1, advance: Callable[[], object] = lambda: None
) -> list[dict[Id, MaskletScore]]:
    """Scores of the objects of every video, as `score_objects` gives them; `advance` is called after each."""
    return [*map_in_processes(score_objects, videos, processes, advance)]


def _folders(truth: Path, predictions: Path, *, all_frames: bool) -> Iterator[FolderVideo]:
    for video, labels in list_videos(truth).items():
        folder, own = truth / video, predictions / video
        if not own.is_dir():
            raise InputError(f"{predictions} has no folder {video}")
        scored = _scored([path.name for path in labels], folder, all_frames=all_frames)
        for name in scored:
            if not (own / name).is_file():
                raise InputError(f"{own} has no {name}")
        yield FolderVideo(folder, own, tuple(scored))


def _file_videos(truth: Path, predictions: Path, *, all_frames: bool) -> Iterator[FileVideo]:
    """Both are annotation files; masklets with the same id are the same object."""
    true, predicted = read_truth(truth), read_truth(predictions)
    own, found = _by_video(true.masklets), _by_video(predicted.masklets)
    for video_id, masklets in own.items():
        video, other = true.videos[video_id], predicted.videos.get(video_id)
        if other is None:
            raise InputError(f"{predictions} has no video {video_id}")
        shapes = [(each.length, each.height, each.width) for each in (video, other)]
        if shapes[0] != shapes[1]:
            texts = [" x ".join(map(str, shape)) for shape in shapes]
            raise InputError(
                f"{predictions}: video {video_id} is {texts[1]} frames and pixels, and the truth {texts[0]}"
            )
        of_video = found.get(video_id, {})
        unknown = set(of_video) - set(masklets)
        if unknown:
            raise InputError(
                f"{predictions}: video {video_id}: the truth has no annotation {min(unknown, key=id_order)}"
            )
        counted = _scored(range(video.length), f"video {video_id} of {truth}", all_frames=all_frames)
        yield FileVideo(video=video, truths=masklets, predictions=of_video, counted=counted)
    if not own:
        raise InputError(f"{truth} holds no masklets")


def _by_video(masklets: Sequence[Masklet]) -> dict[Id, dict[Id, Masklet]]:
    found: dict[Id, dict[Id, Masklet]] = {}
    for masklet in masklets:
        found.setdefault(masklet.video_id, {})[masklet.masklet_id] = masklet
    return found


def _scored(frames: Sequence[Frame], where: object, *, all_frames: bool) -> Sequence[Frame]:
    scored = frames if all_frames else frames[1:-1]
    if not scored:
        raise InputError(f"{where} has {len(frames)} frames, and the first and the last do not count; see --all-frames")
    return scored
