"""Answers requests about images by the agent: rules by default, or a language model behind a server."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Literal

from PIL import Image

from masklet.agent import drawings
from masklet.agent.classic import Classic, marks_of
from masklet.agent.episode import AgentOutcome, run, run_again
from masklet.agent.hands import THOUSAND, Hands
from masklet.agent.judge import Judging, ModelJudge
from masklet.agent.planners import RulesPlanner
from masklet.agent.state import Budget, Effort, Settings
from masklet.agent.traces.story import story_page
from masklet.agent.traces.trace import Recorder, Tape
from masklet.errors import InputError
from masklet.files import write_atomically
from masklet.llm.allowance import read_limits
from masklet.llm.places import Convention
from masklet.llm.probe import Abilities
from masklet.llm.server import ChatServer, checked_address
from masklet.llm.transports import LanguageModel, ServedModel
from masklet.media.images import read_image
from masklet.protocols import ImageSegmenter, Pixels
from masklet.workflows.asking.project_judge import project_judge
from masklet.workflows.asking.server_abilities import fresh_abilities, known_abilities
from masklet.workflows.model_choice import ModelChoice

PlannerMode = Literal["two-call", "free", "classic"]
HIGH_BUDGET = Budget(requests=80, prompts=80, seconds=900.0)  # a local model compares a pair in seconds


@dataclass(frozen=True, kw_only=True)
class Planner:
    """Who plans: rules, which need nothing, or a model on a server.

    `mode` two-call suits models below about 8 B; classic is the published loop. `project` is a folder of the data
    engine whose verifier judges. Without a `budget` it is that of the effort.
    """

    url: str | None = None
    model: str = "default"
    mode: PlannerMode = "two-call"
    effort: Effort = "normal"
    project: Path | None = None
    budget: Budget | None = None
    allow_remote: bool = False
    timeout: float = 60.0

    def server(self) -> ChatServer:
        """The server. Raises: InputError when there is no address, or it is public without leave."""
        if self.url is None:
            raise InputError("there is no server to ask: give its address, such as http://127.0.0.1:8080/v1")
        url = checked_address(self.url, allow_remote=self.allow_remote)
        return ChatServer(url=url, model=self.model, timeout=self.timeout)


def budget_of(text: str, effort: str = "normal") -> Budget:
    """A budget as it is written: `rounds=6,seconds=60`; the rest is that of the effort. Raises: InputError."""
    plain = HIGH_BUDGET if effort == "high" else Budget()
    kinds = {each.name: type(getattr(plain, each.name)) for each in fields(Budget)}
    return replace(plain, **read_limits(text, kinds))  # type: ignore[arg-type] - each is of its kind


@dataclass(frozen=True, kw_only=True)
class AgentJob:
    """A request about images. Drawings and results go into `folder`, traces into `record`, each if given."""

    images: tuple[Path, ...]
    request: str
    model: ModelChoice
    planner: Planner = field(default_factory=Planner)
    folder: Path | None = None
    record: Path | None = None


@dataclass(frozen=True, kw_only=True)
class AgentAnswer:
    """What came of one image, and what was written."""

    path: Path
    outcome: AgentOutcome
    files: tuple[Path, ...]


def check_server(planner: Planner, told: Callable[[str], None]) -> Abilities:
    """What a server can do, told as it is found out. Raises: InputError when it may not be asked."""
    return fresh_abilities(planner.server(), told)


@dataclass(frozen=True, kw_only=True)
class Team:
    """Who plans, who judges, and how places are written; `is_classic`: by the published loop."""

    planner: LanguageModel
    settings: Settings
    judge: Judging | None = None
    convention: Convention = THOUSAND
    is_classic: bool = False


def planned(planner: Planner, segmenter: str = "tiny") -> Team:
    """The planner, with what its server turned out to be able to do. Raises: InputError when it cannot be used."""
    budget = planner.budget or (HIGH_BUDGET if planner.effort == "high" else Budget())
    if planner.url is None:
        if planner.effort == "high" or planner.mode == "classic":
            option = "--effort high" if planner.effort == "high" else "--mode classic"
            raise InputError(f"{option} needs a language model: give the address of its server with --planner")
        judge = None if planner.project is None else project_judge(planner.project, segmenter, None)
        return Team(planner=RulesPlanner(), settings=Settings(budget=budget), judge=judge)
    server = planner.server()
    able = known_abilities(server)
    if able.way is None:
        raise InputError(f"{able.verdict}; {able.notes[0] if able.notes else 'it did not say why'}")
    model = ServedModel(server=server, way=able.way)
    judge = ModelJudge(model=model) if able.sees else None
    if planner.project is not None:
        judge = project_judge(planner.project, segmenter, judge)
    if judge is None and (planner.effort == "high" or planner.mode == "classic"):
        raise InputError(
            f"the model at {server.url} does not see images, and nobody else is there to judge masks: leave out "
            "--effort high and --mode classic, or give a project of the data engine with --verifier"
        )
    settings = Settings(
        budget=budget,
        mode="free" if planner.mode == "free" else "two-call",
        can_ground=able.convention is not None,
        shows="facts and drawing" if able.sees else "facts",
        effort=planner.effort,
    )
    return Team(
        planner=model,
        settings=settings,
        judge=judge,
        convention=able.convention or THOUSAND,
        is_classic=planner.mode == "classic",
    )


def answered(
    team: Team, request: str, image: Pixels, session: ImageSegmenter, *, keep_images: bool = True
) -> AgentOutcome:
    """One request about an open image, by whoever plans."""
    hands = Hands(session=session, image=image, judge=team.judge, convention=team.convention)
    if not team.is_classic:
        return run(request, image, team.planner, hands, team.settings, keep_images=keep_images)
    assert team.judge is not None
    began = time.monotonic()
    ended = Classic(image=image, hands=hands, planner=team.planner, judge=team.judge).run(request)
    return AgentOutcome(
        request=request,
        status=ended.status,
        marks=tuple(marks_of(ended.finds)),
        confidence=min((find.score for find in ended.finds), default=0.0),
        reason=ended.reason,
        rounds=ended.rounds,
        prompts=len(hands.known),
        usage=ended.usage,
        seconds=round(time.monotonic() - began, 3),
        trace=(),
    )


def run_agent(job: AgentJob) -> Iterator[AgentAnswer]:
    """Answers image after image. Raises: InputError on a server that cannot be used, or an image that is none."""
    if job.record is not None and job.planner.mode == "classic":
        raise InputError("the published loop keeps no trace: leave out --record, or choose another --mode")
    team = planned(job.planner, job.model.name)
    model = job.model.load()
    for path in job.images:
        image = read_image(path)
        with model.open(image) as session:
            outcome = answered(team, job.request, image, session)
        files: list[Path] = []
        if job.folder is not None:
            files.append(_drawn(image, outcome, job.folder / f"{path.stem}.png"))
        if job.record is not None:
            job.record.mkdir(parents=True, exist_ok=True)
            files.append(Recorder(lines=list(outcome.trace)).write(job.record / f"{path.stem}.jsonl"))
        yield AgentAnswer(path=path, outcome=outcome, files=tuple(files))


def _drawn(image: Pixels, outcome: AgentOutcome, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(drawings.painted(image, outcome.marks))
    return write_atomically(path, lambda file: picture.save(file, "PNG"))


def replayed(trace: Path, image: Path) -> AgentOutcome:
    """A request run again from its trace, without a model or a server. Raises: InputError where it goes another way."""
    tape = Tape.open(trace)
    return run_again(tape, read_image(image), tape.settings)


def shown(trace: Path) -> Path:
    """A page of a trace, written beside it. Raises: InputError when it is none."""
    return write_atomically(trace.with_suffix(".html"), story_page(Tape.open(trace).events))
