"""The state of a run on disk: a folder for each step, with a file from each process, written while training goes on.

A checkpoint is read by any number of processes, whatever number wrote it. It is written beside its place and renamed
when every process has done its part, so a run that is killed meanwhile finds the one before. Files are safetensors and
JSON, not those of torch.distributed.checkpoint, whose table of contents is a pickle.
"""

import json
import re
import shutil
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.distributed.tensor import DTensor

from masklet.errors import InputError
from masklet.files import replacing, write_atomically
from masklet.train.run.distributed import own_part, rank_and_world

FOLDER, UNFINISHED = "checkpoints", ".unfinished"
STATE = "state.json"
PATIENCE = 1800.0  # seconds that a process waits for the parts of others
_POLL = 0.05


class Checkpoints:
    """The checkpoints of one run, of which the newest is kept."""

    def __init__(self, run: Path) -> None:
        self.folder = run / FOLDER
        self.rank, self.world = rank_and_world()
        self._writer = ThreadPoolExecutor(max_workers=1)
        self._writing: Future[None] | None = None

    @property
    def newest(self) -> Path | None:
        """The folder of the last whole checkpoint."""
        return max(self._whole(), key=lambda path: int(path.name.removeprefix("step-")), default=None)

    def _whole(self) -> list[Path]:
        return [path for path in self.folder.glob("step-*") if re.fullmatch(r"step-\d+", path.name)]

    def forget_unfinished(self) -> None:
        """Removes half-written checkpoints of a killed run. All processes must call it before the first `save`."""
        if self.rank == 0:
            for path in self.folder.glob(f"*{UNFINISHED}"):
                shutil.rmtree(path)
        if self.world > 1:
            dist.barrier()

    def save(self, step: int, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Copies the tensors, and writes them and the state (plain values) in the background.

        Each process writes its part of sharded tensors, the first process all others. A save waits for the one before
        it; nothing is done when this step was saved already. Raises: InputError when the one before could not be
        written.
        """
        self.wait()
        if self.newest is not None and self.newest.name == _name(step):
            return
        beside = self.folder / f"{_name(step)}{UNFINISHED}"
        sharded = [name for name, tensor in tensors.items() if isinstance(tensor, DTensor)]
        # a copy, as the originals change; safetensors refuses tensors that share memory
        mine = {
            name: own_part(tensor).detach().to("cpu", copy=True).contiguous()
            for name, tensor in tensors.items()
            if self.rank == 0 or name in sharded
        }
        content = json.dumps({**state, "step": step, "world": self.world, "sharded": sharded})
        self._writing = self._writer.submit(self._write, beside, mine, content)

    def wait(self) -> None:
        """Waits for the checkpoint that is being written. Raises: InputError when it could not be written."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def _write(self, beside: Path, tensors: dict[str, Tensor], content: str) -> None:
        part = beside / _part(self.rank, self.world)
        with replacing(part) as path:
            try:
                save_file(tensors, path)
            except SafetensorError as error:  # it wraps the error of the operating system
                raise InputError(f"cannot write {part}: {error}") from error
        if self.rank == 0:
            write_atomically(beside / STATE, content)
            parts = [beside / _part(rank, self.world) for rank in range(self.world)]
            _until(lambda: all(part.exists() for part in parts), beside)
            older = self._whole()
            beside.replace(beside.with_name(beside.name.removesuffix(UNFINISHED)))
            for path in older:
                shutil.rmtree(path)
        else:
            _until(lambda: not beside.exists(), beside)


def _name(step: int) -> str:
    return f"step-{step:08d}"


def _part(rank: int, world: int) -> str:
    return f"part-{rank}-of-{world}.safetensors"


def _until(condition: Callable[[], bool], what: Path) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise InputError(f"{what} was not completed: a process did not write its part")
        time.sleep(_POLL)


def read_state(checkpoint: Path) -> dict[str, Any]:
    """The plain values of a checkpoint. Raises: InputError when they are missing or damaged."""
    try:
        state = json.loads((checkpoint / STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read the checkpoint {checkpoint}: {error}") from error
    if not isinstance(state, dict) or not {"step", "world", "sharded"} <= state.keys():
        raise InputError(f"{checkpoint / STATE} is not the state of a run")
    return state


@torch.no_grad()
def restore(checkpoint: Path, tensors: Mapping[str, Tensor]) -> None:
    """Fills the tensors, in place, with what the checkpoint holds under their names.

    Raises: InputError when the checkpoint holds other names or shapes.
    """
    state = read_state(checkpoint)
    rank, world = rank_and_world()
    try:
        files = [safe_open(checkpoint / _part(part, state["world"]), "pt") for part in range(state["world"])]
        given = set(files[0].keys())
        if given != tensors.keys():
            odd = sorted(given ^ tensors.keys())
            raise InputError(f"{checkpoint} is of another recipe: {len(odd)} names differ, such as {odd[0]}")
        for name, tensor in tensors.items():
            parts = files if name in state["sharded"] else files[:1]
            stored = [file.get_tensor(name) for file in parts]
            value = torch.cat(stored) if len(stored) > 1 else stored[0]
            if value.shape != tensor.shape:
                raise InputError(f"{checkpoint} is of another model: {name} has the shape {tuple(value.shape)}")
            own = own_part(tensor)
            if isinstance(tensor, DTensor):  # sharded along the first axis, as torch.chunk would
                chunks = value.chunk(world)
                value = chunks[rank] if rank < len(chunks) else value[:0]
            own.copy_(value)
    except (OSError, SafetensorError) as error:
        raise InputError(f"cannot read the checkpoint {checkpoint}: {error}") from error
