"""The facade: a model that segments images and opens sessions on images and videos, and `load`, which makes one."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import overload

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor

from masklet.checkpoints.adapters import read
from masklet.checkpoints.hub import find
from masklet.checkpoints.weights import Weights, load_detector
from masklet.errors import InputError
from masklet.formats.calibration import Calibration
from masklet.inference.concepts import Boxes, Phrases, read_whole
from masklet.inference.devices import choose_device, choose_dtype, limit_threads
from masklet.inference.image.image_result import ImageResult
from masklet.inference.image.image_session import ImageSession
from masklet.inference.image.many_images import image_files, segment_images, source_path
from masklet.inference.predictor import Predictor
from masklet.inference.rules.rules import Rules
from masklet.inference.video.opening import open_session, resume_session
from masklet.inference.video.video_session import VideoSession
from masklet.media.images import ImageSource, read_image
from masklet.media.video_source import VideoSource
from masklet.nn.precision import cast_compute
from masklet.query.answer import Answer
from masklet.query.english import read_question
from masklet.query.evaluate import ask, like_of
from masklet.query.nodes import Corners, Node, phrases, with_examples
from masklet.tokenizer import Tokenizer


class Model(Predictor):
    """A detector on a device, ready for images and videos. Made by `load`.

    Threads may share a model, and results; a session, of an image or of a video, belongs to one thread at a time.
    """

    @overload
    def segment(
        self,
        image: ImageSource,
        phrases: Phrases = None,
        *,
        boxes: Boxes | None = None,
        not_boxes: Boxes | None = None,
        threshold: float | None = None,
        calibration: Calibration | None = None,
        batch_size: int = 1,
    ) -> ImageResult: ...

    @overload
    def segment(
        self,
        image: Sequence[ImageSource],
        phrases: Phrases = None,
        *,
        boxes: Boxes | None = None,
        not_boxes: Boxes | None = None,
        threshold: float | None = None,
        calibration: Calibration | None = None,
        batch_size: int = 1,
    ) -> list[ImageResult]: ...

    @overload
    def segment(
        self,
        image: Iterator[ImageSource],
        phrases: Phrases = None,
        *,
        boxes: Boxes | None = None,
        not_boxes: Boxes | None = None,
        threshold: float | None = None,
        calibration: Calibration | None = None,
        batch_size: int = 1,
    ) -> Iterator[ImageResult]: ...

    def segment(
        self,
        image: ImageSource | Sequence[ImageSource] | Iterable[ImageSource],
        phrases: Phrases = None,
        *,
        boxes: Boxes | None = None,
        not_boxes: Boxes | None = None,
        threshold: float | None = None,
        calibration: Calibration | None = None,
        batch_size: int = 1,
    ) -> ImageResult | list[ImageResult] | Iterator[ImageResult]:
        """Every instance of one or several concepts in an image, or in many.

        `image` is a path, the bytes of a file, a PIL image, an array or a tensor (see `media.read_image`), and gives
        one result. A list of images gives a list of results. A folder, a pattern such as `photos/*.jpg` and an iterator
        give results one by one, as they are asked for: `for result in model.segment("photos", "coin")`. Files of a
        folder or pattern that cannot be read are left out, and the log "masklet" says so. Of many images `batch_size`
        are encoded together. An address is read by `masklet.fetch` and by nothing else.

        `boxes` and `not_boxes` are example boxes, xyxy in pixels of the image; they go with one phrase or with none.
        Detections score above `threshold`, in [0, 1] and by default 0.5. With a `calibration` (see
        `formats.calibration`) a phrase whose presence is too low is absent, masks are cut where the phrase wants it,
        and scores are recentred so that the phrase's own threshold is one half.

        Raises: InputError on an image, phrase, box, threshold or calibration that cannot be used.
        """

        def ask(session: ImageSession) -> ImageResult:
            return session.find(phrases, boxes=boxes, not_boxes=not_boxes, threshold=threshold, calibration=calibration)

        batch_size = read_whole(batch_size, "batch_size", least=1)
        files = image_files(image)
        if files is not None:
            return segment_images(self, files, ask, batch_size, skip_unreadable=True)
        if isinstance(image, (str, bytes, PathLike, Image, np.ndarray, Tensor)) or not isinstance(image, Iterable):
            with self.open(image) as session:
                return ask(session)
        results = segment_images(self, image, ask, batch_size, skip_unreadable=False)
        return list(results) if isinstance(image, Sequence) else results

    def ask(
        self,
        image: ImageSource,
        question: str | Node,
        *,
        threshold: float = 0.5,
        examples: Mapping[str, Sequence[Corners]] | None = None,
    ) -> Answer:
        """What answers a compound question: "the three leftmost cups", "the cup on the table, not the one in the box".

        The question is English, its exact text form, or a tree (`masklet.query`); of several readings the likeliest is
        taken. All its concepts are asked in one batch, but for those of `examples`: boxes xyxy in pixels that show what
        a phrase of the question means. `Answer.explain()` tells what was left out and why.

        Raises: InputError naming the word that cannot be placed, or an example's phrase that the question lacks.
        """
        node = read_question(question)[0].node if isinstance(question, str) else question
        if foreign := set(examples or ()) - set(phrases(node)):
            raise InputError(f"the question has no concept {min(foreign)!r}: it has {', '.join(phrases(node))}")
        node = with_examples(node, examples or {})
        with self.open(image) as session:
            answer = ask(
                lambda names, least: session.find(names, threshold=least),
                session.pixels,
                node,
                threshold=threshold,
                like=like_of(session),
            )
            return replace(answer, path=session.path)

    def open(self, image: ImageSource) -> ImageSession:
        """A session on one image: it is read and encoded once, then asked as often as wanted."""
        pixels = read_image(image)
        return ImageSession(self, pixels, source_path(image))

    def open_video(
        self,
        source: VideoSource | None = None,
        *,
        rules: str | Rules = "sam3",
        delay: int | None = None,
        history_frames: int | None = 1000,
        memory_frames: int = 8,
        calibration: Calibration | None = None,
    ) -> VideoSession:
        """A session that tracks concepts and objects through a video.

        `source` is the path of a video, a folder or list of images, the number of a camera or an iterable of frames;
        without one, frames are pushed. `rules` are the constants of the pipeline, or the name of a set of them: sam3,
        sam3.1 or no-heuristics. `delay` is how many frames results wait (by default as the rules say; 0 shows masklets
        at once, also those that the rules soon end). Memory is bounded: results of the last `history_frames` frames are
        kept for corrections, and of every object the memories it needs and those of the last `memory_frames` frames.
        With a `calibration` detections are recentred as by `segment` before the rules see them.

        Raises: InputError on a source, rules or a calibration that cannot be used, or when the weights have no tracker.
        """
        return open_session(
            self,
            source,
            rules,
            delay=delay,
            history_frames=history_frames,
            memory_frames=memory_frames,
            calibration=calibration,
        )

    def resume_video(self, path: str | PathLike[str], source: VideoSource | None = None) -> VideoSession:
        """A session that `VideoSession.save` wrote, on the same video. Raises: InputError when they do not fit."""
        return resume_session(self, Path(path), source)


def load(
    name_or_path: str | PathLike[str] = "tiny",
    *,
    device: str = "auto",
    dtype: str = "auto",
    image_size: int | None = None,
) -> Model:
    """A model by name (`tiny`, `sam3`) or from a weight file in any known format.

    `device` is auto, cpu, cuda or mps; `dtype` is auto, float32, bfloat16 or float16, where auto takes bfloat16 if the
    device multiplies it fast. `image_size` is the side in pixels that images are resized to, by default the model's.
    Where OMP_NUM_THREADS is not set, torch is left half of the cores, eight at most.

    Raises: InputError on unknown names, files that are not whole, or a device that is not there.
    """
    limit_threads()
    target = choose_device(device)
    weights = read(find(name_or_path))
    return make_model(weights, target, choose_dtype(dtype, target), image_size)


def make_model(weights: Weights, device: torch.device, dtype: torch.dtype, image_size: int | None = None) -> Model:
    """A model from weights already read. Raises: InputError on an image size that the trunk cannot divide."""
    detector = load_detector(weights)
    size = image_size or weights.config.image_size
    try:
        detector.vision.trunk.grid(size, size)
    except ValueError as error:
        raise InputError(str(error)) from error
    if dtype != torch.float32:
        cast_compute(detector, dtype)
    text = weights.config.text
    return Model(
        detector=detector.to(device),
        device=device,
        dtype=dtype,
        image_size=size,
        parts=weights.parts,
        tokenizer=Tokenizer(text.vocab_size, text.context),
        settings=weights.settings,
        digest=weights.digest,
    )
