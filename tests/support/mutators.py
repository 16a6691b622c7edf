"""Small damages to files, drawn from a seeded generator: what a broken disk, a bad exporter or an attacker leaves."""

import json
import re
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np

Mutator = Callable[[np.random.Generator, bytes], bytes]

NUMBERS = (0, 1, -1, 7, 255, 256, 65535, 2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**63, 10**30, 0.5, -0.0, 1e308, 5e-324)
ODD_VALUES: tuple[Any, ...] = (
    *NUMBERS,
    *(
        float("nan"),
        float("inf"),
        None,
        True,
        False,
        "",
        " ",
        "0",
        "1",
        "a" * 5000,
        "../../etc/passwd",
        "/",
        "\0",
        "é\u202e",
    ),
    *([], {}, [[]], [None], {"": None}, [0] * 4, [1e9] * 6, {"size": [2**20, 2**20], "counts": "0"}),
)
ODD_WORDS = (
    *("0", "-1", "1e999", "nan", "inf", "99999999999999999999", "", " ", "\0", "é", "\u202e", "'", '"', "{", "}", "["),
    *("]", "(", ")", "<", ">", "&", "*a", "&a", "!!python/object:os.system", "---", ":", ",", "\n", "\t", "- ", "#"),
)
DEEP = 3000  # more than Python's stack


def pick(rng: np.random.Generator, options: Any) -> Any:
    return options[int(rng.integers(len(options)))]


def mutate_bytes(rng: np.random.Generator, data: bytes) -> bytes:
    """One to a few damages; most to the first bytes, where headers are."""
    for _ in range(int(rng.integers(1, 6))):
        data = pick(rng, (_flip, _flip, _set_number, _set_number, _cut, _drop, _repeat))(rng, data)
    return data


def _place(rng: np.random.Generator, data: bytes) -> int:
    most = len(data) if rng.random() < 0.5 else min(len(data), 128)
    return int(rng.integers(max(most, 1)))


def _flip(rng: np.random.Generator, data: bytes) -> bytes:
    at = _place(rng, data)
    return data[:at] + bytes([int(rng.integers(256))]) + data[at + 1 :]


def _set_number(rng: np.random.Generator, data: bytes) -> bytes:
    """A size or an offset that is none."""
    at, width = _place(rng, data), int(pick(rng, (1, 2, 4, 8)))
    value = int(pick(rng, (0, 1, 255, 2**15, 2**31 - 1, 2**32 - 1, 2**63, 2**64 - 1))) % 2 ** (8 * width)
    return data[:at] + value.to_bytes(width, str(pick(rng, ("little", "big")))) + data[at + width :]  # type: ignore[arg-type]


def _cut(rng: np.random.Generator, data: bytes) -> bytes:
    return data[: int(rng.integers(len(data) + 1))]


def _drop(rng: np.random.Generator, data: bytes) -> bytes:
    at = _place(rng, data)
    return data[:at] + data[at + int(rng.integers(1, 65)) :]


def _repeat(rng: np.random.Generator, data: bytes) -> bytes:
    at, count = _place(rng, data), int(rng.integers(1, 65))
    return data[: at + count] + data[at : at + count] * int(rng.integers(1, 4)) + data[at + count :]


def mutate_json(rng: np.random.Generator, data: bytes) -> bytes:
    """Another value, or a field less, more or twice, somewhere in a document; at times the text itself is damaged."""
    if rng.random() < 0.15:
        return mutate_text(rng, data)
    document = json.loads(data)
    for _ in range(int(rng.integers(1, 4))):
        document = _bend(rng, document)
    if rng.random() < 0.02:
        return (b"[" * DEEP) + json.dumps(document).encode(errors="surrogatepass") + b"]" * DEEP
    return json.dumps(document).encode(errors="surrogatepass")


def _bend(rng: np.random.Generator, value: Any) -> Any:
    if not isinstance(value, (dict, list)) or not value or rng.random() < 0.1:
        return deepcopy(pick(rng, ODD_VALUES))
    key = pick(rng, list(value)) if isinstance(value, dict) else int(rng.integers(len(value)))
    way = rng.random()
    if way < 0.7:
        value[key] = _bend(rng, value[key])
    elif way < 0.8:
        del value[key]
    elif isinstance(value, list):
        value.append(deepcopy(value[key]))
    else:
        value[str(pick(rng, [*value, *ODD_WORDS]))] = deepcopy(value[key])
    return value


def mutate_text(rng: np.random.Generator, data: bytes) -> bytes:
    """A word another, a line less, twice or elsewhere; at times a byte that is no text."""
    if rng.random() < 0.1:
        return mutate_bytes(rng, data)
    words = re.split(r"(\w+|\s+)", data.decode(errors="replace"))
    for _ in range(int(rng.integers(1, 6))):
        at, other = int(rng.integers(len(words))), int(rng.integers(len(words)))
        change: tuple[list[str], ...] = (
            [str(pick(rng, ODD_WORDS))],
            [],
            [words[at]] * int(rng.integers(2, 9)),
            [words[other]],
            [words[at], words[other]],
        )
        words[at : at + 1] = pick(rng, change)
        words = words or [""]
    return "".join(words).encode(errors="surrogatepass")


def mutate_sentence(rng: np.random.Generator, data: bytes) -> bytes:
    """Words of a few sentences, one a line: left out, doubled, exchanged, or in another order."""
    lines = data.decode().splitlines()
    words = [word for _ in range(int(pick(rng, (1, 1, 2, 3)))) for word in str(pick(rng, lines)).split()]
    others = [word for _ in range(3) for word in str(pick(rng, lines)).split()]
    for _ in range(int(rng.integers(1, 5))):
        at = int(rng.integers(len(words)))
        words[at : at + 1] = pick(rng, ([], [words[at]] * 2, [pick(rng, others)], [words[at], pick(rng, others)]))
        words = words or ["the"]
    if rng.random() < 0.05:
        words.insert(int(rng.integers(len(words))), str(pick(rng, ODD_WORDS)))
    return " ".join(words).encode()
