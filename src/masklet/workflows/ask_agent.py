"""Answers requests about images by the agent: rules by default, or a language model behind a server."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from masklet.agent import drawings
from masklet.agent.episode import AgentOutcome, run
from masklet.agent.hands import THOUSAND, Hands
from masklet.agent.judge import Judging, ModelJudge
from masklet.agent.planners import RulesPlanner
from masklet.agent.probe_images import probe_images
from masklet.agent.state import Budget, Mode, Settings
from masklet.agent.trace import Recorder
from masklet.errors import InputError
from masklet.files import write_atomically
from masklet.llm.places import Convention
from masklet.llm.probe import Abilities, probe
from masklet.llm.server import ChatServer, checked_address
from masklet.llm.transports import LanguageModel, ServedModel
from masklet.media.images import read_image
from masklet.protocols import Pixels
from masklet.workflows.model_choice import ModelChoice


@dataclass(frozen=True, kw_only=True)
class Planner:
    """Who plans: rules, which need nothing, or a model on a server. `mode` two-call suits models below about 8 B."""

    url: str | None = None
    model: str = "default"
    mode: Mode = "two-call"
    allow_remote: bool = False
    timeout: float = 60.0

    def server(self) -> ChatServer:
        """The server. Raises: InputError when there is no address, or it is public without leave."""
        if self.url is None:
            raise InputError("there is no server to ask: give its address, such as http://127.0.0.1:8080/v1")
        url = checked_address(self.url, allow_remote=self.allow_remote)
        return ChatServer(url=url, model=self.model, timeout=self.timeout)


@dataclass(frozen=True, kw_only=True)
class AgentJob:
    """A request about images. Drawings and results go into `folder`, traces into `record`, each if given."""

    images: tuple[Path, ...]
    request: str
    model: ModelChoice
    planner: Planner = field(default_factory=Planner)
    budget: Budget = field(default_factory=Budget)
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
    return probe(planner.server(), probe_images(), told)


@dataclass(frozen=True, kw_only=True)
class Team:
    """Who plans, who judges, and how places are written."""

    planner: LanguageModel
    settings: Settings
    judge: Judging | None = None
    convention: Convention = THOUSAND


def planned(planner: Planner, budget: Budget | None = None) -> Team:
    """The planner, with what its server turned out to be able to do. Raises: InputError when it cannot be used."""
    budget = budget or Budget()
    if planner.url is None:
        return Team(planner=RulesPlanner(), settings=Settings(budget=budget))
    server = planner.server()
    able = probe(server, probe_images())
    if able.way is None:
        raise InputError(f"{able.verdict}; {able.notes[0] if able.notes else 'it did not say why'}")
    model = ServedModel(server=server, way=able.way)
    return Team(
        planner=model,
        settings=Settings(budget=budget, mode=planner.mode, can_ground=able.convention is not None),
        judge=ModelJudge(model=model) if able.sees else None,
        convention=able.convention or THOUSAND,
    )


def run_agent(job: AgentJob) -> Iterator[AgentAnswer]:
    """Answers image after image. Raises: InputError on a server that cannot be used, or an image that is none."""
    team = planned(job.planner, job.budget)
    model = job.model.load()
    for path in job.images:
        image = read_image(path)
        with model.open(image) as session:
            hands = Hands(session=session, image=image, judge=team.judge, convention=team.convention)
            outcome = run(job.request, image, team.planner, hands, team.settings)
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
