"""Requests and answers of the server's own interface; the OpenAPI document and `masklet.client` are made of these.

Coordinates are pixels of the upright image: a box is x0, y0, x1, y1, a point x, y. Masks are COCO run lengths unless
another form was asked for.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

MOST_PROMPTS = 32
MOST_PHRASE = 300
Number = Annotated[float, Field(allow_inf_nan=False)]
BoxValues = Annotated[
    tuple[Number, Number, Number, Number], Field(description="x0, y0, x1, y1 in pixels", examples=[[81, 175, 124, 217]])
]
PointValues = Annotated[tuple[Number, Number], Field(description="x, y in pixels", examples=[[52, 62]])]
Phrase = Annotated[str, Field(min_length=1, max_length=MOST_PHRASE, examples=["coin"])]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False, examples=[0.5])]
Sign = Literal[0, 1]
Boxes = Annotated[list[BoxValues], Field(max_length=100)]
Points = Annotated[list[PointValues], Field(max_length=200)]
Signs = Annotated[list[Sign], Field(max_length=200)]
ObjectId = Annotated[int, Field(ge=0, le=2**31, examples=[1])]
FrameNumber = Annotated[int, Field(ge=0, le=2**31)]
Side = Annotated[int, Field(ge=1, le=2**30)]
MaskForm = Literal["rle", "polygon", "png"]


class WireModel(BaseModel):
    """A request or an answer: what is not in it is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


# --- masks and instances ------------------------------------------------------------------------------------------


class RleMask(WireModel):
    """COCO run lengths: height and width, and the compressed counts."""

    size: tuple[Side, Side]
    counts: Annotated[str, Field(max_length=4_000_000)]


class MaskView(WireModel):
    """A mask in the one form that was asked for; a polygon lists x, y, x, y, ... for each part."""

    rle: RleMask | None = None
    polygon: list[list[float]] | None = None
    png: Annotated[str | None, Field(description="base64")] = None


class InstanceView(WireModel):
    """One instance of a prompt."""

    id: int
    phrase: str
    score: float
    box: BoxValues
    area: int
    mask: MaskView


# --- segment ------------------------------------------------------------------------------------------------------


class PhrasePrompt(WireModel):
    """Every instance of a phrase, with example boxes where they help."""

    type: Literal["phrase"] = "phrase"
    text: Phrase
    boxes: Boxes = []
    not_boxes: Boxes = []


class ExemplarPrompt(WireModel):
    """Everything like the boxes, and not like the others."""

    type: Literal["exemplars"] = "exemplars"
    boxes: Annotated[list[BoxValues], Field(min_length=1, max_length=100)]
    not_boxes: Boxes = []


class ClickPrompt2D(WireModel):
    """The one object at the points (label 1 on it, 0 off it), inside the box, or both."""

    type: Literal["click"] = "click"
    points: Points = []
    labels: Signs = []
    box: BoxValues | None = None


class QuestionPrompt(WireModel):
    """A whole sentence, such as "the cups on the table, not the one in the box"."""

    type: Literal["query"] = "query"
    text: Phrase


Prompt = Annotated[PhrasePrompt | ExemplarPrompt | ClickPrompt2D | QuestionPrompt, Field(discriminator="type")]


class SegmentBody(WireModel):
    """What to find in one image. As multipart: the file `image`, and this as JSON in the field `request`."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={"examples": [{"prompts": [{"type": "phrase", "text": "coin"}], "threshold": 0.5}]},
    )

    image: Annotated[str | None, Field(description="base64 of an image file, or a data URL")] = None
    prompts: Annotated[list[Prompt], Field(min_length=1, max_length=MOST_PROMPTS)]
    threshold: Share = 0.5
    format: MaskForm = "rle"


class PromptAnswer(WireModel):
    """The answer to one prompt. `error` says why there is none; the others are answered all the same."""

    index: int
    echo: Prompt
    error: str | None = None
    found: bool = False
    presence: dict[str, float] = {}
    instances: list[InstanceView] = []
    explanation: list[str] = []


class SegmentAnswer(WireModel):
    """Answers in the order of the prompts."""

    width: int
    height: int
    model: str
    seconds: float
    prompts: list[PromptAnswer]


# --- photos -------------------------------------------------------------------------------------------------------


class ConceptView(WireModel):
    """A phrase asked of a photo with its examples; "" for examples alone. Presence is a probability.

    `kept` is the id of the kept concept that it is, whose examples are on another photo.
    """

    phrase: str
    presence: float
    kept: str = ""
    boxes: Boxes = []
    not_boxes: Boxes = []
    explanation: list[str] = []


class ObjectView(WireModel):
    """An object of a photo; `source` is how it came to be, and `points` are the clicks that made it."""

    id: ObjectId
    phrase: str
    score: float
    box: BoxValues
    area: int
    mask: RleMask
    source: Literal["phrase", "click", "query", "hand"]
    hidden: bool = False
    locked: bool = False
    points: Points = []
    labels: Signs = []


class HandTask(WireModel):
    """What a photo session is for: masks of a pair that a person corrects, or draws for a slot of the gold set."""

    kind: Literal["correct", "gold"]
    slot: Literal["a", "b", "c"] | None = None
    pair: str
    maskset: str = ""
    phrase: str
    name: str


class PhotoView(WireModel):
    """A photo session as it stands. `version` counts its changes; objects below `threshold` are not exported.

    `task` is there where the session is work for a project.
    """

    id: str
    name: str
    version: int
    width: int
    height: int
    threshold: float
    concepts: list[ConceptView]
    objects: list[ObjectView]
    can_undo: bool
    can_redo: bool
    task: HandTask | None = None


class FindBody(WireModel):
    """Looks for concepts and keeps what is there of others; boxes go with one phrase or with none."""

    phrases: Annotated[list[Phrase], Field(max_length=MOST_PROMPTS)] = []
    boxes: Boxes = []
    not_boxes: Boxes = []


class ExemplarBody(WireModel):
    """One more example of a concept of the session: "this too", or "not this"."""

    phrase: Annotated[str, Field(max_length=MOST_PHRASE)] = ""
    box: BoxValues
    positive: bool = True


class ConceptKeepBody(WireModel):
    """Keeps a concept of a photo session, which has examples there, under a name."""

    image: Annotated[str, Field(max_length=40)]
    phrase: Annotated[str, Field(max_length=MOST_PHRASE)] = ""
    name: Annotated[str, Field(max_length=MOST_PHRASE)] = ""


class KeptConceptView(WireModel):
    """A kept concept. The picture of its first example is a JPEG in base64."""

    id: str
    name: str
    phrase: str
    owner: str
    picture: str


class LikeBody(WireModel):
    """Looks for a kept concept, by the examples that it has on another photo."""

    concept: Annotated[str, Field(max_length=40)]


class PhotoClickBody(WireModel):
    """Clicks that join those of an object, or begin one."""

    object: ObjectId | None = None
    phrase: Annotated[str, Field(max_length=MOST_PHRASE)] = ""
    points: Points = []
    labels: Signs = []
    box: BoxValues | None = None


class QuestionBody(WireModel):
    """A whole sentence."""

    text: Phrase


class DrawBody(WireModel):
    """A mask drawn by hand: of an object, or of a new one. With `as_prompt` the model redraws it."""

    object: ObjectId | None = None
    phrase: Annotated[str, Field(max_length=MOST_PHRASE)] = ""
    mask: RleMask
    as_prompt: bool = False


class ObjectsBody(WireModel):
    """Objects to join, to part into their pieces, to delete, or to change."""

    action: Literal["delete", "merge", "split", "fill_holes", "update"]
    objects: Annotated[list[ObjectId], Field(min_length=1, max_length=10_000)]
    hidden: bool | None = None
    locked: bool | None = None
    phrase: Annotated[str | None, Field(max_length=MOST_PHRASE)] = None


class ThresholdBody(WireModel):
    """Where the page and exports cut scores."""

    threshold: Share


class ConceptBody(WireModel):
    """A concept to take away, with its objects that are not locked."""

    phrase: Annotated[str, Field(max_length=MOST_PHRASE)]


class ScriptView(WireModel):
    """The session so far, as Python and as a command line."""

    python: str
    command_line: str


class SessionRow(WireModel):
    """A session that may be gone on with."""

    id: str
    kind: Literal["photo", "video"]
    name: str
    owner: str
    used: float


# --- videos -------------------------------------------------------------------------------------------------------


class VideoMark(WireModel):
    """A prompt that was given."""

    frame: FrameNumber
    kind: Literal["concept", "click", "mask"]
    object: int | None = None
    phrase: str = ""
    points: Points = []
    labels: Signs = []


class FrameObjects(WireModel):
    """The objects on one frame, as `FrameResult.to_json`; `rles` are COCO counts of `size`, height and width.

    `clicked` are the ids that a user began.
    """

    index: int
    time: float
    size: tuple[int, int]
    ids: list[int]
    concepts: list[str]
    scores: list[float]
    object_scores: list[float]
    precedence: list[float]
    rles: list[str]
    clicked: list[int]


class VideoView(WireModel):
    """A video session as it stands; `job` is the one that runs. `frames` are the numbers of those with results."""

    id: str
    name: str
    version: int
    width: int
    height: int
    frames_total: int | None
    fps: float | None
    objects: list[int]
    concepts: list[str]
    marks: list[VideoMark]
    frames: list[int]
    stale: list[int]
    versions: int
    job: str | None


class VideoConceptBody(WireModel):
    """A phrase, examples on the frame, or both, to follow."""

    phrase: Annotated[str, Field(max_length=MOST_PHRASE)] = ""
    boxes: Boxes = []
    not_boxes: Boxes = []
    frame: FrameNumber = 0


class VideoClickBody(WireModel):
    """Clicks on one object on one frame; they join those made there before with `add`."""

    object: ObjectId | None = None
    frame: FrameNumber = 0
    points: Points = []
    labels: Signs = []
    box: BoxValues | None = None
    add: bool = True


class VideoMaskBody(WireModel):
    """The mask of an object on a frame."""

    object: ObjectId | None = None
    frame: FrameNumber = 0
    mask: RleMask


class TrackBody(WireModel):
    """What to track. With `until_stable` each way ends where ten frames in a row come out as before (IoU over 0.98)."""

    direction: Literal["forward", "backward", "both"] = "forward"
    start: FrameNumber | None = None
    stop: FrameNumber | None = None
    until_stable: bool = False


class JobView(WireModel):
    """A tracking job. `done` counts frames that are there to be fetched, also after it was cancelled."""

    id: str
    video: str
    state: Literal["running", "done", "cancelled", "failed"]
    done: int
    error: str | None = None


class StreamRow(WireModel):
    """A line of a job's stream: a frame under its number in the stream, or, last, the job itself."""

    seq: int
    frame: FrameObjects | None = None
    job: JobView | None = None


class LiveView(WireModel):
    """A live stream."""

    id: str


# --- the server itself ------------------------------------------------------------------------------------------


class HealthView(WireModel):
    """Whether the server is up, and its model."""

    status: Literal["UP"] = "UP"
    model_class: str = "masklet"
    model: str
    state: Literal["loading", "ready", "failed"]
    problem: str | None = None


class ModelRow(WireModel):
    """A model that may be served, and whether it is."""

    name: str
    note: str
    is_served: bool


class ServerView(WireModel):
    """What a page needs to know of the server."""

    version: str
    model: str
    state: Literal["loading", "ready", "failed"]
    person: str
    role: str
    has_project: bool
    image_formats: list[str]
    video_formats: list[str]


class ProblemView(WireModel):
    """What went wrong, in one sentence, and the number of the request, which is in the log."""

    error: str
    request_id: str
