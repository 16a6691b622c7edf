"""The tools, one type each; their JSON schemas and the checks of what a model gives come from these types."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from masklet.llm.messages import ToolCall, ToolDescription

MOST_PHRASES, MOST_WORDS = 6, 6
MOST_BOXES = 4
MOST_VIEWED = 40
MOST_INSPECTED = 12
# What schemas may hold so that every server takes them; the rest is checked here alone
KEPT = frozenset({"type", "properties", "required", "items", "enum", "anyOf", "additionalProperties", "description"})


class Arguments(BaseModel):
    """Base of all tools' arguments."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Segment(Arguments):
    """Find all instances of short noun phrases in the whole image. Give several ways to say it at once."""

    phrases: list[str] = Field(min_length=1, max_length=MOST_PHRASES)
    min_score: float = Field(default=0.4, ge=0.05, le=0.95)

    @field_validator("phrases")
    @classmethod
    def _short(cls, phrases: list[str]) -> list[str]:
        return short_phrases(phrases)


def short_phrases(phrases: list[str]) -> list[str]:
    """The phrases. Raises: ValueError when one is empty or a sentence."""
    for phrase in phrases:
        if not phrase.strip():
            raise ValueError("a phrase is empty")
        if len(phrase.split()) > MOST_WORDS:
            raise ValueError(f"{phrase[:60]!r} has more than {MOST_WORDS} words; name a kind of thing")
    return phrases


def four_numbers(boxes: list[list[float]]) -> list[list[float]]:
    """The boxes. Raises: ValueError when one is none."""
    if any(len(box) != 4 for box in boxes):
        raise ValueError("a box has four numbers, x0, y0, x1, y1")
    return boxes


class Propose(Arguments):
    """Say the request in up to five ways: short noun phrases, and boxes (x0, y0, x1, y1 in 0-1000) around what is meant
    if you see where it is. All are segmented and compared."""

    phrases: list[str] = Field(min_length=1, max_length=5)
    boxes: list[list[float]] = Field(default_factory=list, max_length=MOST_BOXES)

    @field_validator("phrases")
    @classmethod
    def _short(cls, phrases: list[str]) -> list[str]:
        return short_phrases(phrases)

    @field_validator("boxes")
    @classmethod
    def _corners(cls, boxes: list[list[float]]) -> list[list[float]]:
        return four_numbers(boxes)


class SegmentBox(Arguments):
    """Make a mask from a box: of the one thing in it ("this") or of everything like it ("all_like_this"), where
    negative_boxes show what is not meant."""

    box: list[float] = Field(min_length=4, max_length=4, description="x0, y0, x1, y1 in 0-1000")
    mode: Literal["this", "all_like_this"]
    phrase: str | None = None
    negative_boxes: list[list[float]] = Field(default_factory=list, max_length=MOST_BOXES)

    @field_validator("negative_boxes")
    @classmethod
    def _corners(cls, boxes: list[list[float]]) -> list[list[float]]:
        return four_numbers(boxes)


class Refine(Arguments):
    """Correct a mask by points (x, y in 0-1000) that belong to it or do not."""

    mask: str
    add_points: list[list[float]] = Field(default_factory=list, max_length=8)
    remove_points: list[list[float]] = Field(default_factory=list, max_length=8)

    @field_validator("add_points", "remove_points")
    @classmethod
    def _pairs(cls, points: list[list[float]]) -> list[list[float]]:
        if any(len(point) != 2 for point in points):
            raise ValueError("a point has two numbers, x and y")
        return points


class Inspect(Arguments):
    """Look at masks: each enlarged, or all in the image."""

    masks: list[str] = Field(min_length=1, max_length=MOST_INSPECTED)
    view: Literal["zoom", "image"] = "zoom"


class Facts(Arguments):
    """A table of candidates: box, size, colour, ranks from left, top and by size, overlaps. Costs nothing."""

    masks: list[str] = Field(default_factory=list)
    sort: Literal["x", "y", "area", "score"] = "score"


class Judge(Arguments):
    """Have each mask judged on its own: is it what is asked for?"""

    masks: list[str] = Field(min_length=1, max_length=40)
    question: str | None = None


class Combine(Arguments):
    """Make a new mask of several: their union, what all share, or the first without the others."""

    op: Literal["union", "intersect", "difference"]
    masks: list[str] = Field(min_length=2, max_length=MOST_INSPECTED)


class Query(Arguments):
    """Ask in one line how things lie: "the second cup from the left", "bottles not on the table"."""

    question: str = Field(min_length=1, max_length=500)


class AnswerWith(Arguments):
    """Give the answer: the ids of the masks that are asked for, and of nothing else."""

    masks: list[str] = Field(min_length=1)
    confidence: float = Field(default=0.5, ge=0, le=1)


class AnswerNone(Arguments):
    """Say that nothing in the image is asked for."""

    reason: Literal["absent", "contradiction", "not_groundable", "policy"]


class AskUser(Arguments):
    """Ask the person who made the request."""

    question: str = Field(min_length=1, max_length=500)


class ViewCandidates(Arguments):
    """Done by the agent itself before it asks: facts of candidates, and a drawing of them for who sees."""

    masks: list[str] = Field(max_length=MOST_VIEWED)
    with_picture: bool


class Compare(Arguments):
    """Done by the agent itself: which of two sets of masks is what is asked for."""

    first: list[str]
    second: list[str]


TOOLS: Mapping[str, type[Arguments]] = {
    "segment": Segment,
    "propose": Propose,
    "segment_box": SegmentBox,
    "refine": Refine,
    "inspect": Inspect,
    "facts": Facts,
    "judge": Judge,
    "combine": Combine,
    "query": Query,
    "answer": AnswerWith,
    "answer_none": AnswerNone,
    "ask_user": AskUser,
}


def spec(name: str) -> ToolDescription:
    """A tool as models are told of it."""
    kind = TOOLS[name]
    return ToolDescription(
        name=name, description=" ".join((kind.__doc__ or "").split()), parameters=strict(kind.model_json_schema())
    )


def guide(names: Sequence[str]) -> str:
    """The tools in words, a line each; they are told once, and schemas need not be read."""
    lines = []
    for name in names:
        kind = TOOLS[name]
        given = ", ".join(kind.model_fields)
        lines.append(f"- {name}({given}): {' '.join((kind.__doc__ or '').split())}")
    return "\n".join(["Tools:", *lines])


def strict(schema: Any) -> Any:
    """A schema in the subset that every server takes: all properties required, nothing else allowed."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {
        key: value if key in ("enum", "required") else strict(value) for key, value in schema.items() if key in KEPT
    }
    if isinstance(schema.get("properties"), dict):
        kept["properties"] = {name: strict(value) for name, value in schema["properties"].items()}
        kept["required"] = list(schema["properties"])
        kept["additionalProperties"] = False
    if "const" in schema:
        kept["enum"] = [schema["const"]]
    kept.pop("description", None) if "properties" in kept else None
    return kept


def chooser(name: str, ids: Sequence[str]) -> ToolDescription:
    """`answer` or `judge` with the ids that exist as the only ones that can be written."""
    plain = spec(name)
    properties = dict(plain.parameters["properties"])
    properties["masks"] = {"type": "array", "items": {"type": "string", "enum": list(ids)}}
    return ToolDescription(
        name=name, description=plain.description, parameters={**plain.parameters, "properties": properties}
    )


def checked(call: ToolCall) -> Arguments | str:
    """The arguments of a call, or one sentence on what is wrong with them."""
    kind = TOOLS.get(call.name)
    if kind is None:
        return f"there is no tool {call.name[:40]!r}; there are {', '.join(TOOLS)}"
    given = {key: value for key, value in call.arguments.items() if value is not None or key not in kind.model_fields}
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "arguments"
        return f"{call.name}: {where}: {first['msg'].removeprefix('Value error, ')}"
