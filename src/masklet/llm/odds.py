"""How likely a model finds each answer: by the log-probabilities of letters, where its server tells them."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from masklet.llm.messages import Message, Usage
from masklet.llm.server import ChatServer
from masklet.llm.transports import usage_of, written

LETTERS = "ABCDEFGHIJ"
MOST_TOKENS_TOLD = 20  # the most that servers tell of a place
LEAST_MASS = 0.5  # of the first token on letters, below which the model was about to say something else


def ask_odds(
    server: ChatServer, messages: Sequence[Message], answers: Mapping[str, str]
) -> tuple[dict[str, float], Usage]:
    """The probability of each answer, of which they are told in their order; none where the server does not say.

    Raises: ServerProblem.
    """
    listed = [f"{letter}: {name}, {answers[name]}" for letter, name in zip(LETTERS, answers, strict=False)]
    asked = Message(role="user", parts=("\n".join(["Answer with one letter and nothing else.", *listed]),))
    request = {
        "messages": [each for message in (*messages, asked) for each in written(message, "text")],
        "temperature": 0.0,
        "max_tokens": 1,
        "logprobs": True,
        "top_logprobs": MOST_TOKENS_TOLD,
    }
    document = server.complete(request)
    mass = _mass_of_letters(document)
    found = {name: mass.get(letter, 0.0) for letter, name in zip(LETTERS, answers, strict=False)}
    whole = sum(found.values())
    odds = {name: value / whole for name, value in found.items()} if whole >= LEAST_MASS else {}
    return odds, usage_of(document.get("usage"))


def _mass_of_letters(document: Mapping[str, Any]) -> dict[str, float]:
    try:
        listed = list(document["choices"][0]["logprobs"]["content"][0]["top_logprobs"])
    except (KeyError, IndexError, TypeError):
        return {}
    found: dict[str, float] = {}
    for each in listed:
        token, log = (each.get("token"), each.get("logprob")) if isinstance(each, dict) else (None, None)
        if isinstance(token, str) and isinstance(log, (int, float)) and -100 <= log <= 0:
            letter = token.strip().upper()
            found[letter] = found.get(letter, 0.0) + math.exp(log)
    return found
