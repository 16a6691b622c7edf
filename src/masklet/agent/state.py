"""What is known of a request, what comes in and what goes out: plain values, apart from what is decided in `core`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from masklet.agent.pool import FoundMask, Pool
from masklet.agent.search import Search
from masklet.agent.tools import Arguments
from masklet.llm.messages import Message, Picture, Reply, ToolCall, ToolDescription, Usage

Status = Literal["answered", "none", "budget", "degraded", "asked"]
Mode = Literal["free", "two-call"]
Shows = Literal["nothing", "facts", "facts and drawing"]
Effort = Literal["normal", "high"]


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a request may cost. `stale` is rounds without a new candidate, `invalid` mistakes of the planner."""

    rounds: int = 12
    requests: int = 40
    prompts: int = 40
    seconds: float = 120.0
    tokens: int = 200_000
    invalid: int = 5
    stale: int = 3


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How the agent works. `can_ground`: the planner knows where things are; `may_ask`: there is somebody to ask.

    `shows` is what the planner reads of new candidates before it is asked again. High effort compares readings in
    pairs, see `search`; it needs somebody who judges.
    """

    budget: Budget = field(default_factory=Budget)
    mode: Mode = "free"
    can_ground: bool = True
    may_ask: bool = False
    is_fast: bool = True
    shows: Shows = "nothing"
    effort: Effort = "normal"


# --- events and effects -------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Begun:
    """A request about an image: its drawing for the planner."""

    request: str
    picture: Picture


@dataclass(frozen=True, kw_only=True)
class Said:
    """The planner's reply, and the seconds since the request began."""

    reply: Reply
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Unreachable:
    """The planner cannot be asked, and why."""

    sentence: str


@dataclass(frozen=True, kw_only=True)
class Ran:
    """What a tool gave. `finds` become candidates; `verdicts` are probabilities by id; `prompts` is what it cost.

    `groups` has, where finds are of several proposals, the name of each and how many are its own; `preference` is the
    probability that the first of two sets is better.
    """

    text: str = ""
    finds: tuple[FoundMask, ...] | None = None
    groups: tuple[tuple[str, int], ...] = ()
    preference: float | None = None
    pictures: tuple[Picture, ...] = ()
    verdicts: Mapping[str, float] = field(default_factory=dict)
    answers: bool = False
    prompts: int = 0
    usage: Usage = field(default_factory=Usage)
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class AskPlanner:
    """Ask the planner, with these tools."""

    messages: tuple[Message, ...]
    tools: tuple[ToolDescription, ...]


@dataclass(frozen=True, kw_only=True)
class RunTool:
    """Run a tool whose arguments are checked."""

    call: ToolCall
    arguments: Arguments


@dataclass(frozen=True, kw_only=True)
class Finish:
    """The end: what answers the request, how sure, and why it ended."""

    status: Status
    masks: tuple[str, ...] = ()
    confidence: float = 0.0
    reason: str = ""


Event = Begun | Said | Unreachable | Ran
Effect = AskPlanner | RunTool | Finish


@dataclass(frozen=True, kw_only=True)
class AgentState:
    """All that is known of a request."""

    settings: Settings = field(default_factory=Settings)
    request: str = ""
    prefix: tuple[Message, ...] = ()
    turns: tuple[Message, ...] = ()
    pool: Pool = field(default_factory=Pool)
    pending: tuple[ToolCall, ...] = ()
    verdicts: Mapping[str, float] = field(default_factory=dict)
    told: frozenset[str] = frozenset()
    repeats: Mapping[str, int] = field(default_factory=dict)
    used: frozenset[str] = frozenset()  # names of tools that were run
    last_answers: tuple[str, ...] | None = None  # of the query tool
    rounds: int = 0
    stale: int = 0
    invalid: int = 0
    prompts: int = 0
    usage: Usage = field(default_factory=Usage)
    seconds: float = 0.0
    is_fast: bool = False
    shown: int = 0  # calls of the pool whose candidates the planner has read of
    has_read: bool = False  # the query language was asked for the request as it stands
    search: Search | None = None  # of high effort
