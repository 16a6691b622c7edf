"""The published agent, for comparison with its tables: four tools, masks of the last phrase only, pruned history.

What the published one loses an episode by (a reply without a call, bad JSON, numbers that do not exist) is told to the
planner here; the rules, the order of messages and what is pruned are as published.

Source: SAM 3 paper, appendix G. The texts are ours.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from masklet.agent import drawings
from masklet.agent.hands import Hands, finds_of
from masklet.agent.judge import Judging
from masklet.agent.pool import FoundMask, Mark
from masklet.agent.state import Status
from masklet.llm.messages import Message, Picture, Reply, ToolCall, ToolDescription, Usage
from masklet.llm.server import ServerProblem
from masklet.llm.transports import LanguageModel
from masklet.protocols import Pixels

SCORE = 0.5
COVERED = 0.3  # of the smaller mask, by a surer one: suppressed
MOST_ROUNDS, MOST_INVALID = 100, 5
ACCEPTED = 0.5
SYSTEM = """You find what a request asks for in an image. Reason inside <think>, then call one tool inside <tool> as \
JSON {"name": ..., "parameters": ...}.
segment_phrase {"text_prompt": one short singular noun phrase}: masks of all its instances, numbered by score; earlier \
masks are discarded. examine_each_mask {}: each mask is judged, rejected ones are removed. select_masks_and_return \
{"final_answer_masks": [numbers]}: ends with these masks. report_no_mask {}: ends with none.
The first call is segment_phrase or report_no_mask. No phrase is used twice."""
_NO_ARGUMENTS = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}


def _spec(name: str, description: str, **properties: object) -> ToolDescription:
    schema = {**_NO_ARGUMENTS, "properties": properties, "required": list(properties)}
    return ToolDescription(name=name, description=description, parameters=schema)


TOOLS = (
    _spec("segment_phrase", "Masks of all instances of a phrase.", text_prompt={"type": "string"}),
    _spec("examine_each_mask", "Judges each mask."),
    _spec(
        "select_masks_and_return",
        "Ends with these masks.",
        final_answer_masks={"type": "array", "items": {"type": "integer"}},
    ),
    _spec("report_no_mask", "Ends with none."),
)


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassicOutcome:
    """What the published loop ends with, and the messages as they stood at its end."""

    status: Status
    finds: tuple[FoundMask, ...]
    messages: tuple[Message, ...]
    rounds: int
    usage: Usage
    reason: str = ""


@dataclass(kw_only=True)
class Classic:
    """One request with the four tools."""

    image: Pixels
    hands: Hands
    planner: LanguageModel
    judge: Judging
    used: list[str] = field(default_factory=list)
    finds: tuple[FoundMask, ...] = ()
    usage: Usage = field(default_factory=Usage)
    messages: list[Message] = field(default_factory=list)
    request: str = ""

    def run(self, request: str, most_rounds: int = MOST_ROUNDS) -> ClassicOutcome:
        """Answers a request. Nothing that the planner does is raised."""
        self.request = request
        self.messages = [Message(role="system", parts=(SYSTEM,)), self._asked()]
        invalid = 0
        for rounds in range(1, most_rounds + 1):
            try:
                reply = self.planner.reply(self.messages, TOOLS)
            except ServerProblem as problem:
                return self._end("degraded", rounds, str(problem))
            self.usage += reply.usage
            call = reply.calls[0] if reply.calls else None
            if call is not None and (ended := self._ending(call, rounds)) is not None:
                return ended
            told = self._told(call, reply)
            invalid += told.pictures == 0 and call is None
            if invalid > MOST_INVALID:
                return self._end("degraded", rounds, reply.problem)
            self.messages += [Message(role="assistant", parts=(_until_call(reply),)), told]
            self._prune()
        return self._end("budget", most_rounds, f"{most_rounds} rounds were used up")

    def _asked(self) -> Message:
        words, earlier = f"Request: {self.request}", self.used[:-1]
        if earlier:
            words += f"\nNot satisfactory, and not to be used again: {', '.join(earlier)}"
        return Message(role="user", parts=(drawings.plain(self.image), words))

    def _end(self, status: Status, rounds: int, reason: str = "") -> ClassicOutcome:
        return ClassicOutcome(
            status=status,
            finds=self.finds,
            messages=tuple(self.messages),
            rounds=rounds,
            usage=self.usage,
            reason=reason,
        )

    def _ending(self, call: ToolCall, rounds: int) -> ClassicOutcome | None:
        if call.name == "report_no_mask":
            self.finds = ()
            return self._end("none", rounds)
        chosen = call.arguments.get("final_answer_masks")
        if call.name != "select_masks_and_return" or not isinstance(chosen, list):
            return None
        numbers = sorted({each for each in chosen if isinstance(each, int) and 1 <= each <= len(self.finds)})
        if not numbers:
            return None
        self.finds = tuple(self.finds[number - 1] for number in numbers)
        return self._end("answered", rounds)

    def _told(self, call: ToolCall | None, reply: Reply) -> Message:
        if call is None:
            return _user(f"Not done: {reply.problem}")
        if call.name == "segment_phrase":
            return self._segment(str(call.arguments.get("text_prompt", "")).strip())
        if not self.used:
            return _user("Not done: the first call is segment_phrase or report_no_mask.")
        if call.name == "examine_each_mask":
            return self._examine()
        if call.name == "select_masks_and_return":
            return _user(f"Not done: none of these numbers exists; there are {len(self.finds)} masks.")
        return _user(f"Not done: there is no tool {call.name[:40]!r}.")

    def _segment(self, phrase: str) -> Message:
        if not phrase:
            return _user("Not done: text_prompt is empty.")
        if phrase in self.used:
            return _user(f"Not done: {phrase!r} was used before. Used: {', '.join(self.used)}.")
        self.used.append(phrase)
        found, _ = self.hands.find([phrase.lower()], SCORE)
        self.finds = _uncovered(finds_of(found))
        if not self.finds:
            return _user(f"{phrase!r} gives no mask. Try a more general or another phrase.")
        return self._shown(f"{phrase!r} gives {len(self.finds)} masks, numbered 1 to {len(self.finds)}.")

    def _examine(self) -> Message:
        if not self.finds:
            return _user("Not done: there is no mask to examine.")
        judged = self.judge.judge(self.image, marks_of(self.finds), self.request)
        self.usage += judged.usage
        before = len(self.finds)
        kept = [f for f, value in zip(self.finds, judged.probabilities, strict=True) if value >= ACCEPTED]
        self.finds = tuple(kept)
        if not kept:
            return _user(f"All {before} masks were rejected. Try another phrase.")
        return self._shown(f"{len(kept)} of {before} masks were accepted, now numbered 1 to {len(kept)}.")

    def _shown(self, words: str) -> Message:
        return Message(role="user", parts=(words, drawings.marked(self.image, marks_of(self.finds))))

    def _prune(self) -> None:
        """What stays: the beginning, and everything from the last segment_phrase on."""
        last = max(
            (
                place
                for place, message in enumerate(self.messages)
                if message.role == "assistant" and "segment_phrase" in str(message.parts[0])
            ),
            default=2,
        )
        self.messages = [self.messages[0], self._asked(), *self.messages[last:]]
        images = [place for place, message in enumerate(self.messages) if message.pictures]
        for place in images[1:-1]:  # the request's image and the newest view
            parts = tuple(part.note if isinstance(part, Picture) else part for part in self.messages[place].parts)
            self.messages[place] = replace(self.messages[place], parts=parts)


def _user(words: str) -> Message:
    return Message(role="user", parts=(words,))


def _until_call(reply: Reply) -> str:
    """A reply up to the end of its first call, as published."""
    end = reply.text.find("</tool>")
    return reply.text if end < 0 else reply.text[: end + len("</tool>")]


def marks_of(finds: Sequence[FoundMask]) -> list[Mark]:
    """Masks as they are numbered."""
    return [
        Mark(id=f"A{place}", phrases=(find.phrase,), score=find.score, box=find.box, mask=find.mask)
        for place, find in enumerate(finds, 1)
    ]


def _uncovered(finds: Sequence[FoundMask]) -> tuple[FoundMask, ...]:
    kept: list[FoundMask] = []
    for find in sorted(finds, key=lambda each: -each.score):
        area = find.mask.sum()
        if all((find.mask & other.mask).sum() <= COVERED * min(area, other.mask.sum()) for other in kept):
            kept.append(find)
    return tuple(kept)
