"""What a language model may ask, one type a tool. Schemas for every protocol are made from these types."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Box = list[float]
ExportFormat = Literal["coco", "rle", "polygons"]


class ToolRequest(BaseModel):
    """Base of all requests."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class OpenImage(ToolRequest):
    """Open an image and get its handle: one of the folder that is shared (see list_files), or base64 data. Handles live
    until close or until eight newer images were opened."""

    name: str | None = Field(default=None, description="a file of the shared folder")
    data: str | None = Field(default=None, description="the bytes of an image file in base64")


class ListFiles(ToolRequest):
    """The images and videos of the shared folder."""


class FindPhrases(ToolRequest):
    """Find every instance of each short noun phrase. Gives ids with boxes (x0 y0 x1 y1 in pixels) and scores."""

    image: str
    phrases: list[str] = Field(min_length=1, max_length=12)
    min_score: float = Field(default=0.5, ge=0, le=1)


class AddExemplar(ToolRequest):
    """After find with one phrase: show by a box what else is meant, or what is not."""

    image: str
    box: Box = Field(min_length=4, max_length=4)
    is_positive: bool = True


class ClickObject(ToolRequest):
    """The one object at points (x, y in pixels): label 1 is on it, 0 is off it."""

    image: str
    points: list[list[float]] = Field(min_length=1, max_length=16)
    labels: list[int] = Field(min_length=1, max_length=16)


class Ask(ToolRequest):
    """Answer a sentence on how things lie: "the second cup from the left", "bottles not on the table"."""

    image: str
    question: str = Field(min_length=1, max_length=500)


class ReadFacts(ToolRequest):
    """A table of what was found: size, colour, ranks from left and top, overlaps."""

    image: str


class Show(ToolRequest):
    """A drawing of what was found, each with its id."""

    image: str
    ids: list[str] = Field(default_factory=list, description="those to draw; all without")


class Export(ToolRequest):
    """Masks of what was found, as COCO annotations, run lengths or polygons."""

    image: str
    format: ExportFormat = "coco"
    ids: list[str] = Field(default_factory=list, description="those to export; all without")


class Close(ToolRequest):
    """Forget an image."""

    image: str


class TrackStart(ToolRequest):
    """Begin to follow every instance of a phrase through a video of the shared folder; gives the handle of a job."""

    name: str
    phrase: str = Field(min_length=1, max_length=200)


class TrackStatus(ToolRequest):
    """How far a tracking job is, and the objects that it has found with the frames in which they are seen."""

    job: str


class TrackCancel(ToolRequest):
    """Stop a tracking job; what it has found stays."""

    job: str


class ReviewNext(ToolRequest):
    """The next open question of the data-engine project, with its picture: about one mask, or whether all are found."""

    task: Literal["masks", "exhaustivity", "audit"] = "masks"


class ReviewAnswer(ToolRequest):
    """Answer a question that review_next gave, with one of its answers. The verdict is kept for good."""

    question: str = Field(description="its handle")
    answer: str


REVIEWING = frozenset({"review_next", "review_answer"})  # offered where a project is given
REQUESTS: Mapping[str, type[ToolRequest]] = {
    "list_files": ListFiles,
    "open_image": OpenImage,
    "find": FindPhrases,
    "add_exemplar": AddExemplar,
    "click": ClickObject,
    "ask": Ask,
    "facts": ReadFacts,
    "show": Show,
    "export": Export,
    "close": Close,
    "track_start": TrackStart,
    "track_status": TrackStatus,
    "track_cancel": TrackCancel,
    "review_next": ReviewNext,
    "review_answer": ReviewAnswer,
}


def description(name: str) -> str:
    """What a tool does, on one line."""
    return " ".join((REQUESTS[name].__doc__ or "").split())


def input_schema(name: str) -> dict[str, Any]:
    """The JSON schema of a tool's arguments."""
    return _untitled(REQUESTS[name].model_json_schema())


def openai_tools() -> list[dict[str, Any]]:
    """All tools as OpenAI-style functions."""
    return [
        {
            "type": "function",
            "function": {"name": name, "description": description(name), "parameters": input_schema(name)},
        }
        for name in REQUESTS
    ]


def _untitled(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_untitled(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {key: _untitled(value) for key, value in schema.items() if key != "title" or not isinstance(value, str)}
    if kept.get("type") == "object":
        kept.pop("description", None)
    return kept
