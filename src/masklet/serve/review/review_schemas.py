"""Requests and answers about a project: questions and verdicts, corrections, and labels for slots of the gold set."""

from typing import Annotated, Literal

from pydantic import Field

from masklet.serve.schemas import ObjectId, WireModel

TaskName = Literal["masks", "exhaustivity", "audit"]
PersonName = Annotated[str, Field(max_length=100)]
Seconds = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class ReviewCard(WireModel):
    """One question: about the mask `number` of a set, or about all masks. The picture is a JPEG in base64."""

    pair: str
    maskset: str
    number: int | None
    phrase: str
    masks: int
    picture: str


class ReviewSheet(WireModel):
    """The next questions of a task, and how well this person has answered so far (nothing before the first answer).

    Of the `open` ones as many as `held` are on the sheets of others.
    """

    task: TaskName
    question: str
    answers: list[str]
    open: int
    held: int = 0
    cards: list[ReviewCard]
    score: str = ""


class VerdictRow(WireModel):
    """An answer to one card."""

    pair: Digest
    maskset: Digest
    number: Annotated[int | None, Field(ge=0, le=10_000)] = None
    label: Annotated[str, Field(max_length=20)]
    seconds: Seconds = 0.0


class VerdictsBody(WireModel):
    """Answers of one person, whose name is that of their token, or `name` on this machine."""

    task: TaskName
    name: PersonName = ""
    answers: Annotated[list[VerdictRow], Field(min_length=1, max_length=1000)]


class VerdictCounts(WireModel):
    """How many answers were taken, lapsed, decided before, and so on."""

    counts: dict[str, int]


class HandCounts(WireModel):
    """How many pairs wait for a correction, and how many gold pairs are open to this person in each slot."""

    correct: int
    gold: dict[str, int]


class HandTaskBody(WireModel):
    """Asks for a pair to correct, or to label in a slot; `pair` names the one that a question was about."""

    kind: Literal["correct", "gold"] = "correct"
    slot: Literal["a", "b", "c"] | None = None
    pair: Digest | None = None
    name: PersonName = ""


class HandDoneBody(WireModel):
    """What became of it: the masks of the session are right and all, the pair cannot be labelled, or it is left open.

    `groups` are those of its objects whose instances cannot be told apart.
    """

    action: Literal["done", "refuse", "leave"] = "done"
    groups: Annotated[list[ObjectId], Field(max_length=1000)] = Field(default_factory=list)
    reason: Annotated[str, Field(max_length=300)] = ""
    seconds: Seconds = 0.0
