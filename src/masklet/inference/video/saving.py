"""The parts of a session as JSON and tensors, and back, so that a saved session goes on with the same result."""

from collections.abc import Collection, Iterable
from dataclasses import asdict, replace
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from masklet.errors import InputError
from masklet.inference.concepts import Concept
from masklet.inference.predictor import Predictor
from masklet.inference.rules.lifecycle import ConceptState, Track
from masklet.inference.video.archive import Json, TensorStore
from masklet.inference.video.cohorts import Cohort, PromptedMemory
from masklet.inference.video.emission import DelayBuffer
from masklet.inference.video.features import FrameCache
from masklet.inference.video.frame_result import FrameResult
from masklet.inference.video.records import FrameRecord, SessionState, VideoConcept
from masklet.inference.video.result_queue import ResultQueue
from masklet.inference.video.schedule import Key, Schedule
from masklet.media.frames import Frame
from masklet.media.images import check_size
from masklet.models.memory_bank import Memory, MemoryBank, Traversal
from masklet.models.tracker import MASK_CELLS
from masklet.types import ClickPrompt, TokenSet

# --- state --------------------------------------------------------------------------------------------------------


def pack_state(state: SessionState, store: TensorStore) -> Json:
    """A state as JSON, its tensors in the store."""
    return {
        "concepts": [_pack_concept(concept, store) for concept in state.concepts.values()],
        "cohorts": [_pack_cohort(cohort, store) for cohort in state.cohorts],
        "next_id": state.next_id,
        "clicked": sorted(state.clicked),
        "scores": {str(object_id): score for object_id, score in state.scores.items()},
    }


def unpack_state(document: Json, store: TensorStore, device: torch.device) -> SessionState:
    """The state that was packed."""
    concepts = [_unpack_concept(entry, store, device) for entry in document["concepts"]]
    return SessionState(
        concepts={concept.name: concept for concept in concepts},
        cohorts=tuple(_unpack_cohort(entry, store, device) for entry in document["cohorts"]),
        next_id=int(document["next_id"]),
        clicked=frozenset(map(int, document["clicked"])),
        scores={int(object_id): float(score) for object_id, score in document["scores"].items()},
    )


def check_state(state: SessionState, predictor: Predictor) -> None:
    """Raises: ValueError when a tensor of the state does not fit the model, or an id or a frame is out of range."""
    check_counts(state.object_ids, [state.next_id], state.clicked)
    if state.object_ids and state.next_id <= max(state.object_ids):
        raise ValueError(f"the next object would be {state.next_id}, and there is {max(state.object_ids)}")
    if len(set(state.object_ids)) < len(state.object_ids):
        raise ValueError("an object is in two cohorts")
    config = predictor.detector.config.memory
    height, width = predictor.detector.vision.trunk.grid(predictor.image_size, predictor.image_size)
    low = (MASK_CELLS * height, MASK_CELLS * width)
    for cohort in state.cohorts:
        check_counts(cohort.bank.conditioning, cohort.bank.tracked, cohort.prompted, cohort.points, cohort.prompters)
        memories = [(memory, len(cohort.object_ids)) for memory in cohort.bank.conditioning.values()]
        memories += [(memory, len(cohort.object_ids)) for memory in cohort.bank.tracked.values()]
        memories += [(each.memory, 1) for given in cohort.prompted.values() for each in given.values()]
        for memory, count in memories:
            _check(memory.mask_logits, (count, *low))
            _check(memory.object_logits, (count,))
            _check(memory.pointers, (count, config.dim))
            if memory.maps is not None:
                _check(memory.maps, (count, config.memory_dim, height, width))
        for mask in (each.mask for given in cohort.prompted.values() for each in given.values()):
            if mask is not None and (mask.dtype != torch.bool or mask.ndim != 2):
                raise ValueError(f"a mask is {mask.dtype} {list(mask.shape)}")
        for prompts in cohort.points.values():
            for prompt in prompts.values():
                _check(prompt.points_xy, (*prompt.point_labels.shape[:2], 2))
                _check(prompt.point_labels.float(), (1, prompt.points_xy.shape[1]))
    for concept in state.concepts.values():
        if concept.tokens is not None:
            _check(concept.tokens.tokens, (*concept.tokens.valid.shape, predictor.detector.config.prompts.dim))
            meaning, meaning_dim = concept.tokens.meaning, predictor.detector.config.text.meaning_dim
            _check(torch.zeros(1, 0) if meaning is None else meaning, (1, meaning_dim))


def check_counts(*groups: Iterable[int]) -> None:
    """Raises: ValueError when an id or the number of a frame is negative or no whole number."""
    for value in chain(*groups):
        if not isinstance(value, int) or value < 0:
            raise ValueError(f"{value} is no id and no number of a frame")


def _check(tensor: Tensor, shape: tuple[int, ...]) -> None:
    if tuple(tensor.shape) != shape or not tensor.is_floating_point():
        raise ValueError(f"a tensor is {tensor.dtype} {list(tensor.shape)} and should be {list(shape)}")


def _pack_concept(concept: VideoConcept, store: TensorStore) -> Json:
    tokens = concept.tokens
    return {
        "name": concept.name,
        "concept": asdict(concept.concept),
        "tokens": None if tokens is None else _pack_tokens(tokens, store),
        "tracks": [asdict(track) for track in concept.state.tracks],
        "shared": [[older, younger, count] for (older, younger), count in concept.state.shared.items()],
    }


def _pack_tokens(tokens: TokenSet, store: TensorStore) -> Json:
    given = {"tokens": tokens.tokens, "valid": tokens.valid, "meaning": tokens.meaning}
    return store.put(**{name: tensor for name, tensor in given.items() if tensor is not None})


def _unpack_concept(entry: Json, store: TensorStore, device: torch.device) -> VideoConcept:
    asked, tokens = entry["concept"], entry["tokens"]
    return VideoConcept(
        name=entry["name"],
        concept=Concept(phrase=asked["phrase"], boxes=tuple(map(tuple, asked["boxes"])), labels=tuple(asked["labels"])),
        tokens=None if tokens is None else TokenSet(**store.get(tokens, device)),
        state=ConceptState(
            tracks=tuple(Track(**track) for track in entry["tracks"]),
            shared={(older, younger): count for older, younger, count in entry["shared"]},
        ),
    )


def _pack_cohort(cohort: Cohort, store: TensorStore) -> Json:
    return {
        "object_ids": list(cohort.object_ids),
        "concept": cohort.concept,
        "conditioning": {frame: _pack_memory(memory, store) for frame, memory in cohort.bank.conditioning.items()},
        "tracked": {frame: _pack_memory(memory, store) for frame, memory in cohort.bank.tracked.items()},
        "answers": {
            frame: {i: [_pack_memory(each.memory, store), store.put(mask=each.mask)] for i, each in given.items()}
            for frame, given in cohort.prompted.items()
        },
        "points": {
            frame: {i: store.put(points_xy=p.points_xy, point_labels=p.point_labels) for i, p in given.items()}
            for frame, given in cohort.points.items()
        },
        "prompters": {frame: sorted(given) for frame, given in cohort.prompters.items()},
    }


def _unpack_cohort(entry: Json, store: TensorStore, device: torch.device) -> Cohort:
    def memories(kind: str) -> dict[int, Memory]:
        return {int(frame): _unpack_memory(memory, store, device) for frame, memory in entry[kind].items()}

    return Cohort(
        object_ids=tuple(entry["object_ids"]),
        concept=entry["concept"],
        bank=MemoryBank(conditioning=memories("conditioning"), tracked=memories("tracked")),
        prompted={
            int(frame): {
                int(i): PromptedMemory(memory=_unpack_memory(memory, store, device), **store.get(mask, device))
                for i, (memory, mask) in given.items()
            }
            for frame, given in entry["answers"].items()
        },
        points={
            int(frame): {int(i): ClickPrompt(**store.get(prompt, device)) for i, prompt in given.items()}
            for frame, given in entry["points"].items()
        },
        prompters={int(frame): frozenset(given) for frame, given in entry["prompters"].items()},
    )


def _pack_memory(memory: Memory, store: TensorStore) -> Json:
    places = store.put(
        mask_logits=memory.mask_logits,
        object_logits=memory.object_logits,
        pointers=memory.pointers,
        maps=memory.maps,
    )
    return {"tensors": places, "usefulness": memory.usefulness, "by_user": memory.by_user}


def _unpack_memory(entry: Json, store: TensorStore, device: torch.device) -> Memory:
    tensors = store.get(entry["tensors"], device)
    return Memory(**tensors, usefulness=entry["usefulness"], by_user=entry["by_user"])


# --- frames, schedule and results ---------------------------------------------------------------------------------


def pack_frames(cache: FrameCache, frames: Collection[int], store: TensorStore) -> Json:
    """What a saved session has to know of its images; of a stream also the images of these frames."""
    again = cache.source is not None and cache.source.seekable
    held = [] if again else [cache.held[index].frame for index in sorted(frames) if index in cache.held]
    return {
        "size": None if cache.source is None and cache.pushed_size is None else cache.size,
        "num_pushed": cache.num_pushed,
        "held": [[f.index, f.time, store.put(pixels=torch.from_numpy(f.pixels.copy()))] for f in held],
    }


def unpack_frames(document: Json, store: TensorStore, cache: FrameCache) -> None:
    """Fills the cache with what was packed. Raises: InputError when that was of a video of another size."""
    size = None if document["size"] is None else (int(document["size"][0]), int(document["size"][1]))
    check_counts([int(document["num_pushed"])], [index for index, _, _ in document["held"]])
    if size is not None:
        check_size("the video of the session", *size)
    if cache.source is not None and cache.source.size != size:
        raise InputError(f"the session is of a video of another size: {size}, not {cache.source.size}")
    cache.pushed_size = size if cache.source is None else None
    cache.num_pushed = int(document["num_pushed"])
    for index, time, place in document["held"]:
        pixels = store.get(place, torch.device("cpu"))["pixels"].numpy()
        if pixels.dtype != np.uint8 or pixels.shape != (*cache.size, 3):
            raise ValueError(f"an image of {pixels.shape}")
        cache.hold(Frame(index=int(index), time=float(time), pixels=pixels))


def pack_progress(schedule: Schedule, results: ResultQueue) -> Json:
    """What was tracked and what waits to be given, without images."""
    return {
        "waiting": [pack_record(record) for record in results.buffer.waiting],
        "due": [pack_record(record) for record in results.due],
        "course": asdict(results.traversal),
        "covered": sorted(schedule.covered),
        "prompted": sorted(schedule.prompted),
        "ended": sorted(results.ended),
        "stale": [[way, *key, frame] for way, changed in schedule.stale.items() for key, frame in changed.items()],
    }


def unpack_progress(document: Json, buffer: DelayBuffer, results: ResultQueue) -> Schedule:
    """The schedule that was packed, and what waits put into the queue; `buffer` is an empty one."""
    results.buffer = replace(buffer, waiting=tuple(unpack_record(entry) for entry in document["waiting"]))
    results.due = [unpack_record(entry) for entry in document["due"]]
    results.traversal = Traversal(**document["course"])
    check_counts([results.traversal.stride - 1], document["covered"], document["prompted"], document["ended"])
    results.ended = set(document["ended"])
    stale: dict[bool, dict[Key, int]] = {False: {}, True: {}}
    for way, kind, value, frame in document["stale"]:
        check_counts([int(frame)])
        stale[bool(way)][kind, value] = int(frame)
    return Schedule(covered=set(document["covered"]), prompted=set(document["prompted"]), stale=stale)


def pack_record(record: FrameRecord) -> Json:
    """A record as JSON, without its image."""
    return {
        "result": record.result.to_json(),
        "hidden": sorted(record.hidden),
        "unconfirmed": sorted(record.unconfirmed),
    }


def unpack_record(entry: Json) -> FrameRecord:
    """The record that was packed."""
    return FrameRecord(
        result=FrameResult.from_json(entry["result"]),
        hidden=frozenset(entry["hidden"]),
        unconfirmed=frozenset(entry["unconfirmed"]),
    )
