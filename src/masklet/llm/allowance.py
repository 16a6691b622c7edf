"""How much a language model may be asked: requests, tokens, seconds and money of one run, as the user wrote them."""

from collections.abc import Mapping
from dataclasses import dataclass

from masklet.errors import InputError
from masklet.llm.messages import Usage

MOST = 1e12
A_MILLION = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Price:
    """What a million tokens cost, of prompts and of answers, in whatever the server is paid in."""

    prompt: float = 0.0
    completion: float = 0.0

    @classmethod
    def read(cls, text: str) -> "Price":
        """As it is written: `0.15,0.6`. Raises: InputError."""
        try:
            prompt, completion = map(float, text.split(","))
        except ValueError:
            prompt, completion = -1.0, -1.0
        if not (0 <= prompt < MOST and 0 <= completion < MOST):
            raise InputError(f"{text!r} is no price: expected two numbers such as 0.15,0.6, of a million tokens each")
        return cls(prompt=prompt, completion=completion)

    def of(self, usage: Usage) -> float:
        """What was used costs that much."""
        return (usage.prompt_tokens * self.prompt + usage.completion_tokens * self.completion) / A_MILLION


@dataclass(frozen=True, kw_only=True)
class Allowance:
    """Limits of one run; 0 is none. Money is counted by `price`."""

    requests: int = 0
    tokens: int = 0
    seconds: float = 0.0
    money: float = 0.0
    price: Price | None = None

    @classmethod
    def read(cls, text: str | None, price: str | None = None) -> "Allowance":
        """As they are written: `requests=500,money=2`, and a price `0.15,0.6`. Raises: InputError."""
        kinds = {"requests": int, "tokens": int, "seconds": float, "money": float}
        limits = read_limits(text, kinds) if text else {}
        if "money" in limits and price is None:
            raise InputError("a limit of money needs the price of a million tokens, of prompts and of answers")
        return cls(price=None if price is None else Price.read(price), **limits)  # type: ignore[arg-type] - each is of its kind

    def used_up(self, spent: Usage, seconds: float) -> str:
        """Which limit is reached, in words; empty while none is."""
        tokens = spent.prompt_tokens + spent.completion_tokens
        money = 0.0 if self.price is None else self.price.of(spent)
        limits = (
            (spent.requests, self.requests, "requests"),
            (tokens, self.tokens, "tokens"),
            (seconds, self.seconds, "seconds"),
            (money, self.money, "of money"),
        )
        return next((f"{limit:.10g} {what}" for used, limit, what in limits if limit and used >= limit), "")


def read_limits(text: str, kinds: Mapping[str, type[int] | type[float]]) -> dict[str, int | float]:
    """Limits as they are written, `rounds=6,seconds=60`, each of its kind. Raises: InputError naming the known ones."""
    values: dict[str, int | float] = {}
    for part in text.split(","):
        name, _, number = (each.strip() for each in part.partition("="))
        try:
            value = kinds.get(name, float)(number)
        except ValueError:
            value = -1
        if name not in kinds or not 0 < value < MOST:
            raise InputError(f"{part.strip()!r} is no limit: expected NAME=N above 0, of {', '.join(kinds)}")
        values[name] = value
    return values
