"""Common things that few images show: negatives for images whose labels have too few.

That they are absent from a given image is likely, not known. What the labels themselves speak of is never asked. Some,
`LESSONS`, are for learning to say no, others, `PROBES`, for finding out whether that was forgotten: see everyday.yaml.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from importlib.resources import files

import numpy as np
import yaml

from masklet.data.schema import Example, PhraseQuery
from masklet.data.sources import IndexedSource, Remarking, draw_phrases
from masklet.phrases import phrase_key

_LISTED = yaml.safe_load((files("masklet.data") / "everyday.yaml").read_text(encoding="utf-8"))
PROBES, LESSONS = (
    {kind: tuple(things.split(", ")) for kind, things in _LISTED[name].items()} for name in ("probes", "lessons")
)


class WithEverydayNegatives(IndexedSource):
    """Images that are asked for `count` absent things at least: where labels have fewer, for some of `LESSONS`.

    That those are absent is assumed. For data of few classes, which have little to say no to.
    """

    def __init__(self, images: IndexedSource, count: int) -> None:
        self.images, self.count = images, count

    def __len__(self) -> int:
        return len(self.images)

    def name(self, index: int) -> str:
        return self.images.name(index)

    def remarks(self) -> Iterable[tuple[str, str]]:
        """Those of the images."""
        return self.images.remarks() if isinstance(self.images, Remarking) else ()

    def sample(self, rng: np.random.Generator) -> Example:
        return self._asked(self.images.sample(rng), rng)

    def example(self, index: int, rng: np.random.Generator) -> Example:
        return self._asked(self.images.example(index, rng), rng)

    def _asked(self, example: Example, rng: np.random.Generator) -> Example:
        known = [*(query.phrase for query in example.queries), *example.absent]
        missing = self.count - sum(not query.object_index for query in example.queries)
        more = draw_phrases(absent_phrases(known, LESSONS), missing, rng)
        queries = (*example.queries, *(PhraseQuery(phrase=phrase, object_index=()) for phrase in more))
        return replace(example, queries=queries)


def absent_phrases(known: Iterable[str], things: Mapping[str, Sequence[str]]) -> list[str]:
    """The phrases that share no word with the `known` ones, nor does their kind; all of them where none is known."""
    taken = {word for phrase in known for word in _words(phrase)}
    return [
        phrase for kind, phrases in things.items() for phrase in phrases if not taken & (_words(phrase) | _words(kind))
    ]


def _words(phrase: str) -> set[str]:
    """In small letters and, as far as an ending tells, in the singular; "of" and the like say nothing."""
    words = set(phrase_key(phrase).replace("-", " ").split()) - {"of", "a", "an", "the"}
    return words | {word.removesuffix("s") for word in words} | {word.removesuffix("es") for word in words}
