"""Byte-pair tokenizer: noun phrases to ids, nothing else.

The merges are CLIP's. A model with a smaller vocabulary uses a prefix of the same merges, so its ids are the same up to
the two special ones at the end.
"""

import gzip
import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files
from itertools import pairwise

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from masklet.phrases import clean_text

PADDING_ID = 0
_NUM_BYTE_TOKENS = 512  # each byte alone, and each byte at the end of a word
_START, _END = "<start_of_text>", "<end_of_text>"
_CONTRACTIONS = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d", re.IGNORECASE)


class Tokenizer:
    """Text to ids with a vocabulary of `vocab_size` entries and sequences of at most `context` ids."""

    def __init__(self, vocab_size: int = 49408, context: int = 32) -> None:
        merges = _read_merges()[: vocab_size - _NUM_BYTE_TOKENS - 2]
        letters = list(_byte_letters().values())
        words = [*letters, *(letter + "</w>" for letter in letters), *("".join(pair) for pair in merges)]
        self.context = context
        self.start_id, self.end_id = vocab_size - 2, vocab_size - 1
        self._ids = {word: index for index, word in enumerate(words)}
        self._ranks = {pair: rank for rank, pair in enumerate(merges)}
        self._cache: dict[str, tuple[int, ...]] = {_START: (self.start_id,), _END: (self.end_id,)}

    def ids(self, phrase: str) -> list[int]:
        """Ids of one phrase, start and end included, not cut."""
        pieces = (piece for word in split_words(clean_text(phrase)) for piece in self._word_ids(word))
        return [self.start_id, *pieces, self.end_id]

    def encode(self, phrases: Sequence[str]) -> tuple[Int[Tensor, "phrase token"], Bool[Tensor, "phrase token"]]:
        """Ids padded with zeros to the longest phrase, and which of them are real.

        Longer phrases are cut to the context with their end id kept. Id 0 is also a real piece (a "!" inside a word);
        the published model was trained with that piece masked like padding, so it is masked here too.
        """
        rows = [self.ids(phrase) for phrase in phrases]
        rows = [row if len(row) <= self.context else [*row[: self.context - 1], self.end_id] for row in rows]
        length = max(map(len, rows), default=0)
        token_ids = torch.tensor([row + [PADDING_ID] * (length - len(row)) for row in rows], dtype=torch.long)
        token_ids = token_ids.reshape(len(rows), length)
        return token_ids, token_ids != PADDING_ID

    def _word_ids(self, word: str) -> tuple[int, ...]:
        if word not in self._cache:
            letters = [_byte_letters()[byte] for byte in word.encode()]
            self._cache[word] = tuple(self._ids[piece] for piece in self._merge(letters))
        return self._cache[word]

    def _merge(self, letters: list[str]) -> list[str]:
        """Joins the pair of neighbours that was learned first, until no pair is known."""
        pieces = [*letters[:-1], letters[-1] + "</w>"]
        while len(pieces) > 1:
            best = min(pairwise(pieces), key=lambda pair: self._ranks.get(pair, len(self._ranks)))
            if best not in self._ranks:
                break
            pieces = _join_pair(pieces, best)
        return pieces


def split_words(text: str) -> list[str]:
    """Contractions, runs of letters, single digits, and runs of anything else that is not blank."""
    words: list[str] = []
    position = 0
    while position < len(text):
        contraction = _CONTRACTIONS.match(text, position)
        special = next((name for name in (_START, _END) if text.startswith(name, position)), None)
        end = contraction.end() if contraction else position + (len(special) if special else 1)
        kind = _kind(text[position])
        if not contraction and not special and kind in "lo":
            while end < len(text) and _kind(text[end]) == kind:
                end += 1
        if kind != " ":
            words.append(text[position:end])
        position = end
    return words


def _kind(char: str) -> str:
    """Letter, number, blank or other."""
    if char.isspace():
        return " "
    return {"L": "l", "N": "n"}.get(unicodedata.category(char)[0], "o")


def _join_pair(pieces: list[str], pair: tuple[str, str]) -> list[str]:
    joined: list[str] = []
    index = 0
    while index < len(pieces):
        if index + 1 < len(pieces) and (pieces[index], pieces[index + 1]) == pair:
            joined.append(pieces[index] + pieces[index + 1])
            index += 2
        else:
            joined.append(pieces[index])
            index += 1
    return joined


@lru_cache(maxsize=1)
def _byte_letters() -> dict[int, str]:
    """A visible character for each byte, in the order of the vocabulary: printable Latin-1 first, as GPT-2 had it."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + i) for i, byte in enumerate(others)}


@lru_cache(maxsize=1)
def _read_merges() -> list[tuple[str, str]]:
    data = (files("masklet") / "assets" / "bpe_merges.txt.gz").read_bytes()
    pairs = (line.split() for line in gzip.decompress(data).decode().splitlines())
    return [(first, second) for first, second in pairs]
