"""What a server can do, found out by a few real requests: a way to call tools that works, images, places."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from masklet.llm.messages import Message, Picture, ToolDescription
from masklet.llm.places import Box, Convention, best_convention
from masklet.llm.server import ChatServer, ServerProblem
from masklet.llm.transports import WAYS, ServedModel, Way, described

ECHO = ToolDescription(
    name="echo",
    description="Says a colour.",
    parameters={
        "type": "object",
        "properties": {"colour": {"type": "string", "enum": ["red", "green", "blue"]}},
        "required": ["colour"],
        "additionalProperties": False,
    },
)
SAY_GREEN = "Call the tool echo with the colour green."
SHAPE = "What colour is the largest shape in the image? Call the tool echo with its colour."
WHERE = (
    "Give the bounding box of the {name} in this image of {width} x {height} pixels, as JSON: "
    '{{"bbox_2d": [x1, y1, x2, y2]}}'
)


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A synthetic image for the probe: its file, size (height, width), what it shows and where, in shares."""

    picture: Picture
    size: tuple[int, int]
    name: str
    colour: str
    box: Box


@dataclass(frozen=True, kw_only=True)
class Abilities:
    """What one model on one server can do. `way` is None where nothing worked; `notes` say what failed and how."""

    way: Way | None
    sees: bool = False
    convention: Convention | None = None
    hit: float = 0.0
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """Whether the agent will work with it, in one sentence."""
        if self.way is None:
            return "the agent cannot use this server: no way of calling a tool worked"
        if not self.sees:
            return f"tools work ({self.way}), but the model does not see images: it can name phrases, not judge masks"
        if self.convention is None:
            return f"the agent works ({self.way}); the model cannot say where things are, so it is offered no boxes"
        order = "y first" if self.convention.is_y_first else "x first"
        return f"the agent works ({self.way}); boxes are read as {self.convention.scale}, {order} (IoU {self.hit:.2f})"


def probe(server: ChatServer, shown: Sequence[Shown], told: Callable[[str], None] = lambda _: None) -> Abilities:
    """What the server can do, each ability by a real round trip; nothing is raised."""
    quick = replace(server, retries=1)
    notes: list[str] = []
    way: Way | None = next((each for each in WAYS if _works(quick, each, notes, told)), None)
    if way is None:
        return Abilities(way=None, notes=tuple(notes))
    model = ServedModel(server=quick, way=way)
    sees = _sees(model, shown, notes)
    told(f"images: {'seen' if sees else 'not seen'}")
    if not sees:
        return Abilities(way=way, notes=tuple(notes))
    answers = [(text, each.size, each.box) for each in shown if (text := _where(quick, each, notes))]
    convention, hit = best_convention(answers)
    told(f"places: {'not known' if convention is None else convention.scale} (IoU {hit:.2f})")
    return Abilities(way=way, sees=True, convention=convention, hit=hit, notes=tuple(notes))


def _works(server: ChatServer, way: Way, notes: list[str], told: Callable[[str], None]) -> bool:
    said = f"{SAY_GREEN}\n{described([ECHO])}" if way == "text" else SAY_GREEN
    found = _echoed(ServedModel(server=server, way=way), (said,), notes, way) == "green"
    told(f"tool calls by {way}: {'work' if found else 'do not work'}")
    return found


def _sees(model: ServedModel, shown: Sequence[Shown], notes: list[str]) -> bool:
    hint = f"\n{described([ECHO])}" if model.way == "text" else ""
    return all(_echoed(model, (SHAPE + hint, each.picture), notes, "images") == each.colour for each in shown) and bool(
        shown
    )


def _echoed(model: ServedModel, parts: tuple[str | Picture, ...], notes: list[str], what: str) -> Any:
    try:
        reply = model.reply([Message(role="user", parts=parts)], [ECHO])
    except ServerProblem as problem:
        notes.append(f"{what}: {problem}")
        return None
    if not reply.calls:
        notes.append(f"{what}: {reply.problem}")
        return None
    return reply.calls[0].arguments.get("colour")


def _where(server: ChatServer, shown: Shown, notes: list[str]) -> str:
    height, width = shown.size
    asked = WHERE.format(name=shown.name, width=width, height=height)
    request = ServedModel(server=server, way="text")
    try:
        return request.reply([Message(role="user", parts=(asked, shown.picture))], []).text
    except ServerProblem as problem:
        notes.append(f"places: {problem}")
        return ""
