"""The model of a server: loaded in the background, so that the server answers from its first moment."""

import threading
from typing import Literal

from masklet.errors import InputError
from masklet.serve.lane import Lane, LanedModel
from masklet.serve.problems import HttpProblem, stopping
from masklet.workflows.model_choice import ModelChoice

PATIENCE = 60.0  # seconds that a request waits for the weights


class ModelHost:
    """Holds one model and the lanes to it: one for clicks, one for all else."""

    def __init__(self, choice: ModelChoice, waiting: int) -> None:
        self.choice = choice
        self.lane, self.clicks = Lane(waiting), Lane(waiting)
        self.problem: str | None = None
        self._model: LanedModel | None = None
        self._is_decided = threading.Event()
        self._is_closed = False
        self._loading = threading.Thread(target=self._load, name="masklet-load", daemon=True)

    @property
    def num_waiting(self) -> int:
        """How many computations wait."""
        return self.lane.num_waiting + self.clicks.num_waiting

    @property
    def num_bytes(self) -> int:
        """Bytes of the weights, once they are there."""
        return 0 if self._model is None else sum(each.nbytes for each in self._model.detector.parameters())

    def start(self) -> None:
        """Begins to load."""
        self._loading.start()

    @property
    def state(self) -> Literal["loading", "ready", "failed"]:
        """loading, ready or failed."""
        return "failed" if self.problem else "ready" if self._model else "loading"

    def close(self) -> None:
        """Nobody gets the model any more; who waits for its weights or for a turn is told so at once."""
        self._is_closed = True
        self._is_decided.set()
        self.lane.close()
        self.clicks.close()

    def join(self, seconds: float | int) -> None:
        """Waits for what is being loaded: a process that ends while a thread is in torch may crash instead."""
        if self._loading.is_alive():
            self._loading.join(seconds)

    def get(self, patience: float | int = PATIENCE) -> LanedModel:
        """The model, once it is there. Raises: HttpProblem (503) while it is not, or cannot be loaded."""
        self._is_decided.wait(patience)
        if self._is_closed:
            raise stopping()
        if self._model is None:
            message = self.problem or "the model is being loaded: try again in a moment"
            raise HttpProblem(503, message, retry_after=None if self.problem else 5)
        return self._model

    def _load(self) -> None:
        try:
            self._model = LanedModel.of(self.choice.load(), self.lane, self.clicks)
        except (InputError, ImportError, RuntimeError, MemoryError) as error:
            self.problem = f"the model {self.choice.name} cannot be loaded: {error}"
        self._is_decided.set()
