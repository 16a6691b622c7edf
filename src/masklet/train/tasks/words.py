"""The task of first words: the text encoder learns by regression what vector each phrase should have.

Where the trunk was a classifier, its classes' vectors are known before any training; a table of phrases and vectors
(`runs/builtin_words.py`) hands them to the text encoder. Image cells and words then agree before detection is learnt,
as contrast with captions would give it.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.utils.data import Dataset

from masklet.cached import cached
from masklet.checkpoints.containers import open_tensors
from masklet.checkpoints.weights import Weights, load_detector
from masklet.data.collate import Encoder
from masklet.errors import InputError
from masklet.models.detector import Detector
from masklet.models.text import TextEncoder
from masklet.scenes.objects.paint import COLOURS
from masklet.tokenizer import Tokenizer
from masklet.train.losses.criterion import LossReport
from masklet.train.recipes.schema import Recipe, WordsPhase, WordsRecipe
from masklet.train.run.distributed import rank_and_world
from masklet.types import Bundle, bundle

WORDS_STREAM = 11  # of random numbers, apart from those of other tasks
ARTICLES = ("a", "the", "one", "some")
# How often a phrase of the table is said otherwise, and how far a colour turns the vector of its noun
ARTICLE_SHARE, PLURAL_SHARE, COLOUR_SHARE, COLOUR_TURN = 0.1, 0.2, 0.15, 0.4


@bundle
class WordsBatch(Bundle):
    """Phrases and the vectors that they should have."""

    token_ids: Int[Tensor, "phrase token"]
    token_valid: Bool[Tensor, "phrase token"]
    vectors: Float[Tensor, "phrase dim"]


@dataclass(frozen=True, kw_only=True)
class WordTable:
    """Phrases with their vectors, of mean square 1, and how often each is drawn."""

    phrases: tuple[str, ...]
    vectors: Float[Tensor, "phrase dim"]
    shares: Float[np.ndarray, " phrase"]

    @classmethod
    def open(cls, path: Path) -> "WordTable":
        """Reads a table. Raises: InputError when the file is not one."""
        metadata, tensors = open_tensors(path)
        try:
            phrases, shares = json.loads(metadata["phrases"]), tensors["shares"].double().numpy()
            vectors = tensors["vectors"].float()
        except (KeyError, ValueError) as error:
            raise InputError(f"{path} is not a table of words: {error} is missing or unreadable") from error
        return cls(phrases=tuple(phrases), vectors=vectors, shares=shares / shares.sum())

    @cached
    def colours(self) -> dict[str, Tensor]:
        """The vectors of the colours that the table has."""
        return {name: self.vectors[row] for row, name in enumerate(self.phrases) if name in COLOURS}

    def said_otherwise(self, row: int, rng: np.random.Generator) -> tuple[str, Tensor]:
        """A phrase of the table and its vector, sometimes as a plural, with an article or with a colour."""
        phrase, vector = self.phrases[row], self.vectors[row]
        if rng.random() < PLURAL_SHARE:
            phrase = plural(phrase)
        if self.colours and phrase not in self.colours and rng.random() < COLOUR_SHARE:
            colour = list(self.colours)[int(rng.integers(len(self.colours)))]
            turned = vector + COLOUR_TURN * self.colours[colour]
            phrase, vector = f"{colour} {phrase}", turned / turned.square().mean().sqrt()
        if rng.random() < ARTICLE_SHARE:
            phrase = f"{ARTICLES[int(rng.integers(len(ARTICLES)))]} {phrase}"
        return phrase, vector


def plural(noun: str) -> str:
    """The regular English plural."""
    if noun.endswith(("s", "x", "z", "ch", "sh")):
        return f"{noun}es"
    if noun.endswith("y") and noun[-2:-1] not in ("a", "e", "i", "o", "u"):
        return f"{noun[:-1]}ies"
    return f"{noun}s"


@dataclass(frozen=True, kw_only=True)
class WordBatches(Dataset):
    """Batch `index`, made from nothing but the seed and the index."""

    table: WordTable
    tokenizer: Encoder
    size: int
    seed: int

    def __getitem__(self, index: int) -> WordsBatch:
        rng = np.random.default_rng([self.seed, index, WORDS_STREAM])
        rows = rng.choice(len(self.table.phrases), self.size, p=self.table.shares)
        said = [self.table.said_otherwise(row, rng) for row in rows.tolist()]
        token_ids, token_valid = self.tokenizer.encode([phrase for phrase, _ in said])
        vectors = torch.stack([vector for _, vector in said])
        return WordsBatch(token_ids=token_ids, token_valid=token_valid, vectors=vectors)


@dataclass(frozen=True, kw_only=True)
class WordsTask:
    """Teaches the text encoder alone."""

    recipe: WordsRecipe
    tokenizer: Encoder
    spoken: TextEncoder  # as it was: what its tokens say to the detector is kept

    @classmethod
    def of(cls, recipe: Recipe, base: Weights) -> "WordsTask":
        """The task of a recipe that begins with these weights."""
        assert isinstance(recipe, WordsRecipe), recipe.task
        if not base.config.text.meaning_dim:
            raise InputError("these weights compare no meanings with images; a preset with a meaning_dim is needed")
        spoken = load_detector(base).text
        return cls(recipe=recipe, tokenizer=Tokenizer(vocab_size=base.config.text.vocab_size), spoken=spoken)

    def trains(self, name: str) -> bool:
        """The text encoder."""
        return name.startswith("text.")

    def dataset(self, phase: WordsPhase) -> WordBatches:
        """The batches of a phase by index. Raises: InputError when a table cannot be read."""
        table = WordTable.open(Path(self.recipe.data.root) / self.recipe.words)
        return WordBatches(table=table, tokenizer=self.tokenizer, size=phase.batch_size, seed=self.recipe.seed)

    def losses(
        self,
        model: Detector,
        batches: Sequence[WordsBatch],
        phase: WordsPhase,  # noqa: ARG002 - every task is asked alike
        seeds: Sequence[int],  # noqa: ARG002
    ) -> Iterator[LossReport]:
        """Each micro-batch's share of the mean over those of all processes: squares of what is left to the vectors.

        What tokens say to the detector stays as it was.
        """
        share = 1 / (len(batches) * rank_and_world()[1])
        for batch in batches:
            with self.recipe.autocast(batch.vectors.device):
                said = model.text.split(model.text(batch.token_ids), batch.token_valid)
                with torch.no_grad():
                    before = self.spoken.to(batch.vectors.device).split(self.spoken(batch.token_ids), batch.token_valid)
            assert said.meaning is not None
            known, valid = before.tokens.float(), batch.token_valid
            parts = {
                "loss_meaning": (said.meaning.float() - batch.vectors).square().mean(),
                "loss_tokens": (said.tokens.float() - known)[valid].square().mean() / known[valid].var(),
            }
            yield LossReport(
                share * sum(parts.values(), torch.zeros(())),
                {name: share * value.detach() for name, value in parts.items()},
            )
