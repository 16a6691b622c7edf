"""Sessions on disk, so that one goes on after a restart with the same result.

One safetensors file: tensors under the place where they belong, and everything else as JSON in the metadata. Nothing in
it can run; what does not fit is an error.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from masklet.errors import InputError
from masklet.files import replacing
from masklet.inference.model import Concept, Model
from masklet.inference.video.cohorts import Answer, Cohort
from masklet.inference.video.detect import VideoConcept
from masklet.inference.video.emission import FrameRecord
from masklet.inference.video.frame_result import FrameResult
from masklet.inference.video.lifecycle import ConceptState, Track
from masklet.inference.video.step import SessionState
from masklet.models.memory_bank import Memory, MemoryBank
from masklet.models.tracker import MASK_CELLS
from masklet.types import ClickPrompt, TokenSet

FORMAT = "masklet session 1"
Json = dict[str, Any]


class Shelf:
    """Tensors by name, to be written or as read."""

    def __init__(self, tensors: Mapping[str, Tensor] | None = None) -> None:
        self.tensors = dict(tensors or {})

    def put(self, **tensors: Tensor | None) -> Json:
        """Takes tensors, and gives what stands for them in JSON."""
        places = {}
        for name, tensor in tensors.items():
            if tensor is not None:
                places[name] = f"{len(self.tensors)}/{name}"
                self.tensors[places[name]] = tensor.detach().cpu().contiguous()
        return places

    def get(self, places: Json, device: torch.device) -> dict[str, Tensor]:
        """The tensors again."""
        return {name: self.tensors[place].to(device) for name, place in places.items()}


def write_session(path: Path, document: Json, shelf: Shelf) -> None:
    """Writes beside the target first."""
    with replacing(path) as beside:
        save_file(shelf.tensors, beside, {"format": FORMAT, "session": json.dumps(document)})


def read_session(path: Path) -> tuple[Json, Shelf]:
    """What `write_session` wrote. Raises: InputError when the file is something else."""
    try:
        with safe_open(path, "pt") as opened:
            metadata = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - not a dict
    except (OSError, SafetensorError) as error:
        raise InputError(f"cannot read the session {path}: {error}") from error
    if metadata.get("format") != FORMAT:
        raise InputError(f"{path} is not a session")
    try:
        return dict(json.loads(metadata["session"])), Shelf(tensors)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is a damaged session: {error}") from error


# --- state --------------------------------------------------------------------------------------------------------


def pack_state(state: SessionState, shelf: Shelf) -> Json:
    """A state as JSON, its tensors on the shelf."""
    return {
        "concepts": [_pack_concept(concept, shelf) for concept in state.concepts.values()],
        "cohorts": [_pack_cohort(cohort, shelf) for cohort in state.cohorts],
        "next_id": state.next_id,
        "scores": {str(object_id): score for object_id, score in state.scores.items()},
    }


def unpack_state(document: Json, shelf: Shelf, device: torch.device) -> SessionState:
    """The state that was packed."""
    concepts = [_unpack_concept(entry, shelf, device) for entry in document["concepts"]]
    return SessionState(
        concepts={concept.name: concept for concept in concepts},
        cohorts=tuple(_unpack_cohort(entry, shelf, device) for entry in document["cohorts"]),
        next_id=int(document["next_id"]),
        scores={int(object_id): float(score) for object_id, score in document["scores"].items()},
    )


def check_state(state: SessionState, model: Model) -> None:
    """Raises: ValueError when a tensor of the state is not what this model makes."""
    config = model.detector.config.memory
    height, width = model.detector.vision.trunk.grid(model.image_size, model.image_size)
    low = (MASK_CELLS * height, MASK_CELLS * width)
    for cohort in state.cohorts:
        memories = [(memory, len(cohort.object_ids)) for memory in cohort.bank.conditioning.values()]
        memories += [(memory, len(cohort.object_ids)) for memory in cohort.bank.tracked.values()]
        memories += [(answer.memory, 1) for given in cohort.answers.values() for answer in given.values()]
        for memory, count in memories:
            _check(memory.mask_logits, (count, *low))
            _check(memory.object_logits, (count,))
            _check(memory.pointers, (count, config.dim))
            if memory.maps is not None:
                _check(memory.maps, (count, config.memory_dim, height, width))
        for mask in (answer.mask for given in cohort.answers.values() for answer in given.values()):
            if mask is not None and (mask.dtype != torch.bool or mask.ndim != 2):
                raise ValueError(f"a mask is {mask.dtype} {list(mask.shape)}")
        for prompts in cohort.points.values():
            for prompt in prompts.values():
                _check(prompt.points_xy, (*prompt.point_labels.shape[:2], 2))
                _check(prompt.point_labels.float(), (1, prompt.points_xy.shape[1]))
    for concept in state.concepts.values():
        if concept.tokens is not None:
            _check(concept.tokens.tokens, (*concept.tokens.valid.shape, model.detector.config.prompts.dim))


def _check(tensor: Tensor, shape: tuple[int, ...]) -> None:
    if tuple(tensor.shape) != shape or not tensor.is_floating_point():
        raise ValueError(f"a tensor is {tensor.dtype} {list(tensor.shape)} and should be {list(shape)}")


def _pack_concept(concept: VideoConcept, shelf: Shelf) -> Json:
    tokens = concept.tokens
    return {
        "name": concept.name,
        "concept": asdict(concept.concept),
        "tokens": None if tokens is None else shelf.put(tokens=tokens.tokens, valid=tokens.valid),
        "tracks": [asdict(track) for track in concept.state.tracks],
        "shared": [[older, younger, count] for (older, younger), count in concept.state.shared.items()],
    }


def _unpack_concept(entry: Json, shelf: Shelf, device: torch.device) -> VideoConcept:
    asked, tokens = entry["concept"], entry["tokens"]
    return VideoConcept(
        name=entry["name"],
        concept=Concept(phrase=asked["phrase"], boxes=tuple(map(tuple, asked["boxes"])), labels=tuple(asked["labels"])),
        tokens=None if tokens is None else TokenSet(**shelf.get(tokens, device)),
        state=ConceptState(
            tracks=tuple(Track(**track) for track in entry["tracks"]),
            shared={(older, younger): count for older, younger, count in entry["shared"]},
        ),
    )


def _pack_cohort(cohort: Cohort, shelf: Shelf) -> Json:
    return {
        "object_ids": list(cohort.object_ids),
        "concept": cohort.concept,
        "conditioning": {frame: _pack_memory(memory, shelf) for frame, memory in cohort.bank.conditioning.items()},
        "tracked": {frame: _pack_memory(memory, shelf) for frame, memory in cohort.bank.tracked.items()},
        "answers": {
            frame: {i: [_pack_memory(answer.memory, shelf), shelf.put(mask=answer.mask)] for i, answer in given.items()}
            for frame, given in cohort.answers.items()
        },
        "points": {
            frame: {i: shelf.put(points_xy=p.points_xy, point_labels=p.point_labels) for i, p in given.items()}
            for frame, given in cohort.points.items()
        },
    }


def _unpack_cohort(entry: Json, shelf: Shelf, device: torch.device) -> Cohort:
    def memories(kind: str) -> dict[int, Memory]:
        return {int(frame): _unpack_memory(memory, shelf, device) for frame, memory in entry[kind].items()}

    return Cohort(
        object_ids=tuple(entry["object_ids"]),
        concept=entry["concept"],
        bank=MemoryBank(conditioning=memories("conditioning"), tracked=memories("tracked")),
        answers={
            int(frame): {
                int(i): Answer(memory=_unpack_memory(memory, shelf, device), **shelf.get(mask, device))
                for i, (memory, mask) in given.items()
            }
            for frame, given in entry["answers"].items()
        },
        points={
            int(frame): {int(i): ClickPrompt(**shelf.get(prompt, device)) for i, prompt in given.items()}
            for frame, given in entry["points"].items()
        },
    )


def _pack_memory(memory: Memory, shelf: Shelf) -> Json:
    places = shelf.put(
        mask_logits=memory.mask_logits,
        object_logits=memory.object_logits,
        pointers=memory.pointers,
        maps=memory.maps,
    )
    return {"tensors": places, "usefulness": memory.usefulness, "by_user": memory.by_user}


def _unpack_memory(entry: Json, shelf: Shelf, device: torch.device) -> Memory:
    tensors = shelf.get(entry["tensors"], device)
    return Memory(**tensors, usefulness=entry["usefulness"], by_user=entry["by_user"])


# --- results ------------------------------------------------------------------------------------------------------


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
