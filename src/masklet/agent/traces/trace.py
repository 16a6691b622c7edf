"""What happened during a request, an event a line, so that it can be shown, and run again without a model or a server.

A trace holds what came in (replies, results of the segmenter, the clock) and a digest of what went out. Run again, it
gives the same in and compares what goes out: a difference is named with its line.
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from masklet.agent.pool import FoundMask
from masklet.agent.state import Budget, Finish, Ran, Settings
from masklet.agent.tools import Arguments
from masklet.errors import InputError
from masklet.files import write_atomically
from masklet.llm.messages import Message, Picture, Reply, ToolCall, ToolDescription, Usage
from masklet.ops.masks import rle_decode, rle_encode

VERSION = 2
MOST_BYTES = 512 * 2**20
MISSING = "an image that was not kept"

Json = dict[str, Any]


def line(kind: str, **values: Any) -> str:
    """One event as it is written."""
    return json.dumps({"kind": kind, **values}, ensure_ascii=False, separators=(",", ":"))


def digest_of(messages: Sequence[Message], tools: Sequence[ToolDescription]) -> str:
    """A digest of what a planner was asked."""
    plain = [[message.role, message.name, [_part(part) for part in message.parts]] for message in messages]
    told = json.dumps([plain, [asdict(tool) for tool in tools]], sort_keys=True, default=str)
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def _part(part: str | Picture) -> str:
    return part if isinstance(part, str) else hashlib.sha256(part.data).hexdigest()


@dataclass(kw_only=True)
class Recorder:
    """Collects the events of one request. `keep_images` also keeps what planners were shown, for `show`."""

    keep_images: bool = True
    lines: list[str] = field(default_factory=list)

    def begin(self, request: str, image_digest: str, size: tuple[int, int], settings: Any) -> None:
        """The request, on an image of (height, width)."""
        about = {"request": request, "image": image_digest, "size": list(size), "settings": asdict(settings)}
        self.lines.append(line("begin", version=VERSION, **about))

    def asked(self, messages: Sequence[Message], tools: Sequence[ToolDescription]) -> None:
        """What the planner was asked; the newest turn is kept in full."""
        last = [part for part in messages[-1].parts if isinstance(part, str)]
        shown = [part for message in messages[-1:] for part in message.parts if isinstance(part, Picture)]
        pictures = [base64.b64encode(each.data).decode() for each in shown] if self.keep_images else []
        names = [tool.name for tool in tools]
        self.lines.append(line("ask", digest=digest_of(messages, tools), last=last, tools=names, pictures=pictures))

    def replied(self, reply: Reply, seconds: float) -> None:
        """What it said."""
        self.lines.append(line("reply", seconds=seconds, **asdict(reply)))

    def unreachable(self, sentence: str) -> None:
        """It could not be asked."""
        self.lines.append(line("unreachable", sentence=sentence))

    def ran(self, call: ToolCall, ran: Ran) -> None:
        """What a tool gave."""
        finds = None if ran.finds is None else [_written(find) for find in ran.finds]
        pictures = [base64.b64encode(each.data).decode() for each in ran.pictures] if self.keep_images else []
        notes = [each.note for each in ran.pictures]
        plain = {"text": ran.text, "verdicts": dict(ran.verdicts), "answers": ran.answers, "prompts": ran.prompts}
        plain |= {"groups": [list(each) for each in ran.groups], "preference": ran.preference}
        rest = {"finds": finds, "pictures": pictures, "notes": notes, "usage": asdict(ran.usage)}
        self.lines.append(line("ran", call=asdict(call), seconds=ran.seconds, **plain, **rest))

    def finished(self, finish: Finish) -> None:
        """How it ended."""
        self.lines.append(line("finish", **asdict(finish)))

    def write(self, path: Path) -> Path:
        """The file of the trace."""
        return write_atomically(path, "\n".join([*self.lines, ""]))


def _written(find: FoundMask) -> Json:
    height, width = find.mask.shape
    return {
        "phrase": find.phrase,
        "score": find.score,
        "box": list(find.box),
        "size": [height, width],
        "counts": rle_encode(find.mask),
    }


def _read_find(values: Mapping[str, Any]) -> FoundMask:
    x0, y0, x1, y1 = map(float, values["box"])
    height, width = map(int, values["size"])
    mask = rle_decode(values["counts"], height, width)
    return FoundMask(phrase=str(values["phrase"]), score=float(values["score"]), box=(x0, y0, x1, y1), mask=mask)


class Mismatch(InputError):
    """A request that was run again went another way than its trace."""


@dataclass(kw_only=True)
class Tape:
    """A trace that is run again: it is the planner, the hands and the clock."""

    events: Sequence[Json]
    place: int = 1

    @classmethod
    def open(cls, path: Path) -> "Tape":
        """Raises: InputError when the file is no trace."""
        try:
            if path.stat().st_size > MOST_BYTES:
                raise InputError(f"{path} is larger than {MOST_BYTES // 2**20} MB, too large for a trace")
            events = [json.loads(each) for each in path.read_text(encoding="utf-8").splitlines() if each]
            kinds = [event["kind"] for event in events]
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise InputError(f"{path} is not a trace of the agent: {error}") from error
        if not kinds or kinds[0] != "begin" or events[0].get("version") != VERSION:
            raise InputError(f"{path} is not a trace of the agent of version {VERSION}")
        return cls(events=events)

    @property
    def settings(self) -> Settings:
        """How the agent was set. Raises: InputError when the trace does not say."""
        try:
            given = dict(self.events[0]["settings"])
            return Settings(**{**given, "budget": Budget(**given["budget"])})
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"the trace does not say how the agent was set: {error}") from error

    @property
    def keeps_images(self) -> bool:
        """Whether what planners were shown is in it."""
        return any(event.get("pictures") for event in self.events)

    @property
    def request(self) -> str:
        """What was asked."""
        return str(self.events[0]["request"])

    def check(self, lines: Sequence[str]) -> None:
        """Raises: Mismatch naming the first line that differs from what was recorded.

        Where no images were kept, what planners were shown cannot be compared.
        """
        ignored = {"pictures"} if self.keeps_images else {"pictures", "digest"}
        for number, (made, event) in enumerate(zip(lines, self.events, strict=False), 1):
            recorded = {key: value for key, value in event.items() if key not in ignored}
            found = {key: value for key, value in json.loads(made).items() if key not in ignored}
            if found != recorded:
                keys = [key for key in found.keys() | recorded.keys() if found.get(key) != recorded.get(key)]
                raise Mismatch(
                    f"line {number} ({found.get('kind')}) differs from the trace in {', '.join(sorted(keys))}"
                )
        if len(lines) != len(self.events):
            raise Mismatch(f"running the trace again made {len(lines)} events, the trace has {len(self.events)}")

    def _next(self, kind: str) -> Json:
        while self.place < len(self.events) and self.events[self.place]["kind"] == "ask":
            self.place += 1
        if self.place >= len(self.events):
            raise Mismatch(f"the trace has ended, and another {kind} is wanted")
        event = self.events[self.place]
        self.place += 1
        return event

    def reply(self, messages: Sequence[Message], tools: Sequence[ToolDescription]) -> Reply:  # noqa: ARG002 - a protocol's
        """What the planner said then."""
        event = self._next("reply")
        if event["kind"] == "unreachable":
            from masklet.llm.server import ServerProblem

            raise ServerProblem(str(event["sentence"]))
        if event["kind"] != "reply":
            raise Mismatch(f"the trace goes on with {event['kind']} where a reply is wanted")
        calls = tuple(ToolCall(**call) for call in event["calls"])
        rest = {key: event[key] for key in ("text", "problem", "is_cut")}
        return Reply(calls=calls, usage=Usage(**event["usage"]), **rest)

    def run(self, arguments: Arguments, pool: object, request: str) -> Ran:  # noqa: ARG002 - as `Hands`
        """What the tool gave then."""
        event = self._next("ran")
        if event["kind"] != "ran":
            raise Mismatch(f"the trace goes on with {event['kind']} where the result of a tool is wanted")
        finds = None if event["finds"] is None else tuple(map(_read_find, event["finds"]))
        data = [base64.b64decode(each) for each in event["pictures"]] or [b""] * len(event["notes"])
        pictures = tuple(Picture(data=each, note=note) for each, note in zip(data, event["notes"], strict=True))
        rest = {key: event[key] for key in ("text", "verdicts", "answers", "prompts", "preference")}
        rest["groups"] = tuple((str(name), int(size)) for name, size in event["groups"])
        return Ran(finds=finds, pictures=pictures, usage=Usage(**event["usage"]), **rest)

    def seconds(self) -> float:
        """What the clock said at the event that was taken last."""
        return float(self.events[self.place - 1].get("seconds", 0.0))
