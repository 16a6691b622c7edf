"""Maps a function over items, in this process or in several."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_in_processes(
    work: Callable[[Item], Result], items: Sequence[Item], processes: int, advance: Callable[[], object] = lambda: None
) -> Iterator[Result]:
    """Results in the order of the items; `advance` is called after each. `work` is a function of a module."""
    processes = min(processes, len(items))
    if processes < 2:
        for item in items:
            yield work(item)
            advance()
        return
    # Spawned: forking a process with threads, which numerical libraries start, may deadlock.
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        for result in pool.map(work, items):
            yield result
            advance()
