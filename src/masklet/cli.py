"""The command line: reads arguments, calls the library, turns errors into one line. Nothing is computed here.

torch takes a second to import, so it is imported by the commands that compute, after their arguments have been checked.
"""

import json as jsonlib
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from masklet.errors import InputError
from masklet.files import write_atomically
from masklet.inference import folder
from masklet.inference.track_prompts import parse_prompts, parse_track_formats

if TYPE_CHECKING:
    from masklet.inference.results import ImageResult
    from masklet.inference.track_run import TrackRun
    from masklet.models.weights import ModelInfo

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Say what to look for, get a mask for every instance of it.",
)

USAGE_ERROR: Any = typer.BadParameter.__mro__[2]  # click's ClickException, of which typer may carry a copy

Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
Model = Annotated[str, typer.Option(help="Name or path of a model; see `masklet models`.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]
Dtype = Annotated[str, typer.Option(help="auto, float32, bfloat16, float16.")]


class Stopped(Exception):
    """The user stopped the run, of which this says how far it came."""


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line and returns its exit status: 0, 1 for a failure, 2 for wrong usage, 130 when stopped."""
    command = typer.main.get_command(app)
    try:
        status = command.main(arguments, prog_name="masklet", standalone_mode=False)
    except USAGE_ERROR as error:
        if error.__class__.__name__ == "NoArgsIsHelpError":  # its message is the help, as plain `masklet` should print
            typer.echo(error.format_message())
            return 2
        return _complain(error.format_message(), 2)
    except (KeyboardInterrupt, typer.Abort, Stopped) as error:
        return _complain(str(error) or "stopped", 130)
    except (InputError, ImportError, MemoryError, RuntimeError) as error:
        return _complain(_sentence(error))
    if status == 130:  # newer typer turns the interrupt into a status by itself
        return _complain("stopped", 130)
    return status if isinstance(status, int) else 0


def _sentence(error: Exception) -> str:
    """What to tell a user; an error that is ours to mend is raised again, with its traceback."""
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "out of memory" in str(error)):
        return "out of memory: use a smaller image or model, or --device cpu"
    if isinstance(error, RuntimeError):
        raise error
    return str(error)


def _complain(message: str, status: int = 1) -> int:
    typer.echo(f"masklet: {' '.join(message.split())}", err=True)
    return status


@app.command()
def segment(  # noqa: PLR0913 - one argument for each option
    *,
    images: Annotated[list[str], typer.Argument(help="Files, folders or patterns.", show_default=False)],
    phrase: Annotated[list[str] | None, typer.Option("--phrase", "-p", help="What to find; may be repeated.")] = None,
    box: Annotated[list[str] | None, typer.Option(help="Like this: x0,y0,x1,y1 in pixels; repeatable.")] = None,
    not_box: Annotated[list[str] | None, typer.Option(help="Not like this: x0,y0,x1,y1; repeatable.")] = None,
    threshold: Annotated[float | None, typer.Option(help="Keep scores above this, between 0 and 1.")] = None,
    model: Model = "tiny",
    device: Device = "auto",
    dtype: Dtype = "auto",
    out: Annotated[Path | None, typer.Option(help="Folder for results; `out` unless --json.")] = None,
    format: Annotated[str, typer.Option(help="Any of overlay,coco,json,png,yolo.")] = "overlay",
    json: Json = False,
) -> None:
    """Find every instance of a phrase, or of what a box shows, in images."""
    phrases = list(dict.fromkeys(" ".join(each.split()) for each in phrase or []))
    boxes, not_boxes = folder.parse_boxes(box or []), folder.parse_boxes(not_box or [])
    if "" in phrases:
        raise InputError("a phrase is empty")
    if not phrases and not boxes:
        raise InputError("nothing to look for: give a phrase with -p or an example with --box")
    if threshold is not None and not 0 <= threshold <= 1:
        raise InputError(f"the threshold must lie between 0 and 1, not {threshold:g}")
    formats = folder.parse_formats(format)
    target = out or (None if json else Path("out"))
    jobs = folder.find_jobs(images, target)
    prompt = {"phrases": phrases or None, "boxes": boxes or None, "not_boxes": not_boxes or None}
    run = _SegmentRun(
        prompt=prompt | {"threshold": threshold},
        load={"name_or_path": model, "device": device, "dtype": dtype},
        formats=formats,
        target=target,
        json=json,
    )
    failures = run.all(jobs)
    if failures:
        raise InputError(failures[0] if len(jobs) == 1 else f"{len(failures)} of {len(jobs)} images failed")


class _SegmentRun:
    """One call of `segment`: the model is loaded when the first image needs it."""

    def __init__(
        self, *, prompt: dict[str, Any], load: dict[str, str], formats: list[str], target: Path | None, json: bool
    ) -> None:
        self.prompt, self.load, self.formats, self.target, self.json = prompt, load, formats, target, json
        arguments = prompt | load | {"formats": formats}
        self.manifest = folder.Manifest.open(target, arguments) if target else None
        self._loaded: Any = None

    def all(self, jobs: list[folder.Job]) -> list[str]:
        failures: list[str] = []
        done_before = 0
        with self._recorded(), _progress(len(jobs), "images") as advance:
            for job in jobs:
                if not self.json and self.manifest and self.manifest.is_done(job):
                    done_before += 1
                else:
                    self._attempt(job, failures, alone=len(jobs) == 1)
                advance()
        if done_before:
            typer.echo(f"{done_before} of {len(jobs)} were done before, with the same arguments, and skipped")
        return failures

    @contextmanager
    def _recorded(self) -> Iterator[None]:
        """What is done is on record also when the run is stopped."""
        try:
            yield
        finally:
            if self.manifest:
                self.manifest.save()
                if "coco" in self.formats:
                    folder.write_coco(self.manifest)

    def _attempt(self, job: folder.Job, failures: list[str], *, alone: bool) -> None:
        """One image; what is wrong with it goes to `failures`, what is wrong with the run (model, disk) ends it."""
        try:
            image = self._read(job)
        except InputError as error:
            self._fail(job, error, failures, alone=alone)
            return
        model = self._model()
        try:
            result = replace(model.segment(image, **self.prompt), path=job.source)
        except InputError as error:
            self._fail(job, error, failures, alone=alone)
            return
        self._report(job, result)

    @staticmethod
    def _fail(job: folder.Job, error: InputError, failures: list[str], *, alone: bool) -> None:
        message = str(error) if job.source.name in str(error) else f"{job.source.name}: {error}"
        failures.append(message)
        if not alone:
            _complain(message)

    def _report(self, job: folder.Job, result: "ImageResult") -> None:
        outputs = write_formats(result, job.stem, self.formats, self.target) if self.target else []
        if self.manifest:
            self.manifest.add(job, outputs, result.summary())
        if self.json:
            typer.echo(jsonlib.dumps(result.to_json()))
        else:
            shown = f" -> {outputs[0]}" if outputs else ""
            typer.echo(f"{job.source.name}: {result.summary()}{shown}")

    def _read(self, job: folder.Job) -> Any:
        if not job.source.exists():
            raise InputError(f"no such file: {job.source}")
        from masklet.inference.media import read_image

        image = read_image(job.source)
        boxes = (self.prompt["boxes"] or []) + (self.prompt["not_boxes"] or [])
        folder.check_boxes_inside(boxes, *image.shape[:2])
        return image

    def _model(self) -> Any:
        if self._loaded is None:
            import masklet

            name = self.load["name_or_path"]
            self._loaded = masklet.load(name, device=self.load["device"], dtype=self.load["dtype"])
        return self._loaded


def write_formats(result: "ImageResult", stem: str, formats: list[str], target: Path) -> list[Path]:
    """Writes one result in each format and returns the files, the overlay first."""
    base = target / stem
    outputs: list[Path] = []
    if "overlay" in formats:
        outputs.append(result.save(base.with_name(f"{base.name}.overlay.png")))
    if "json" in formats:
        outputs.append(result.save(base.with_name(f"{base.name}.json")))
    if "coco" in formats:
        outputs.append(write_atomically(base.with_name(f"{base.name}.coco.json"), jsonlib.dumps(result.to_coco())))
    if "yolo" in formats:
        outputs.append(write_atomically(base.with_name(f"{base.name}.txt"), "\n".join([*result.to_yolo(), ""])))
        write_atomically(target / "classes.txt", "\n".join([*result.queries, ""]))
    if "png" in formats:
        outputs += result.save_masks(base.with_name(f"{base.name}.masks"))
    return outputs


@contextmanager
def _progress(total: int | None, name: str) -> Iterator[Any]:
    """A bar on a terminal, for more than one image or frame; what it gives is called once for each."""
    if (total is not None and total < 2) or not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, ProgressColumn, Task, TimeRemainingColumn
    from rich.text import Text

    class Speed(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed or 0:.1f} {name}/s")

    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), Speed(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), redirect_stdout=sys.stdout.isatty()) as progress:
        task = progress.add_task(name, total=total)
        yield lambda: progress.advance(task)


@app.command()
def track(  # noqa: PLR0913 - one argument for each option
    *,
    video: Annotated[
        str, typer.Argument(help="A video, a folder of frames, or a camera's number.", show_default=False)
    ],
    phrase: Annotated[list[str] | None, typer.Option("--phrase", "-p", help="What to follow; may be repeated.")] = None,
    box: Annotated[list[str] | None, typer.Option(help="Like this: FRAME:x0,y0,x1,y1 in pixels; repeatable.")] = None,
    click: Annotated[
        list[str] | None,
        typer.Option(help="FRAME:x,y begins an object; FRAME:x,y,+ and FRAME:x,y,- say what else is on it, or not."),
    ] = None,
    objects: Annotated[
        list[str] | None, typer.Option("--object", help="Just what is in FRAME:x0,y0,x1,y1; repeatable.")
    ] = None,
    start: Annotated[int, typer.Option(help="The first frame.", min=0)] = 0,
    stop: Annotated[int | None, typer.Option(help="The frame to end before.", min=1)] = None,
    every: Annotated[int, typer.Option(help="Take every N-th frame.", min=1)] = 1,
    delay: Annotated[int | None, typer.Option(help="Frames a new object is watched before it is shown.", min=0)] = None,
    model: Model = "tiny",
    device: Device = "auto",
    dtype: Dtype = "auto",
    out: Annotated[Path | None, typer.Option(help="Folder for results; `out` unless --json.")] = None,
    format: Annotated[str, typer.Option(help="Any of overlay,masks,ytvis,mot,davis,json.")] = "overlay",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in the folder.")] = False,
    json: Json = False,
) -> None:
    """Follow every instance of a phrase, of what a box shows, or of what was clicked, through a video."""
    prompts = parse_prompts(phrase or [], box or [], click or [], objects or [])
    formats = parse_track_formats(format)
    target = out or (None if json else Path("out"))
    if stop is not None and stop <= start:
        raise InputError(f"there is no frame from {start} to {stop}")
    if resume and target is None:
        raise InputError("--resume needs the folder of the run: give --out")
    from masklet.inference.track_run import TrackJob, TrackRun

    def load() -> Any:
        import masklet

        return masklet.load(model, device=device, dtype=dtype)

    job = TrackJob(
        video=video,
        prompts=prompts,
        start=start,
        stop=stop,
        step=every,
        delay=delay,
        model=model,
        formats=formats if target else (),
        folder=target,
    )
    with TrackRun(job, load, resume=resume) as run:
        _follow(run, json=json)


def _follow(run: "TrackRun", *, json: bool) -> None:
    """Runs to the end, or to where it is stopped, and says what there is then."""
    try:
        with _stopped_softly(run), _progress(run.total, "frames") as advance:
            for result in run:
                if json:
                    typer.echo(jsonlib.dumps(result.to_json()))
                advance()
    except KeyboardInterrupt:
        run.stopping = True
    finally:
        files = run.close()
    for each in (*run.notes, *run.failures):
        _complain(each)
    if not json:
        shown = f" -> {', '.join(map(str, files))}" if files else ""
        counts = Counter(run.objects.values())
        found = ", ".join(f"{name} {count}" for name, count in counts.items()) or "nothing found"
        typer.echo(f"{run.source.name}: {found}{shown}")
    if not run.complete:
        done = "before the first frame was done" if run.last is None else f"after frame {run.last.index}"
        raise Stopped(f"stopped {done}" + ("; go on with --resume" if run.resumable else ""))
    if run.failures:
        raise InputError(f"{len(run.failures)} of {len(run.job.formats)} formats could not be written")


@contextmanager
def _stopped_softly(run: "TrackRun") -> Iterator[None]:
    """The first Ctrl-C lets the frame at work be the last, so that the run can go on from it; a second one ends it."""

    def stop(*_: object) -> None:
        run.stopping = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    earlier = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, earlier)


@app.command()
def models(
    *,
    action: Annotated[str, typer.Argument(help="list or fetch")] = "list",
    name: Annotated[str | None, typer.Argument(help="Which model to fetch.")] = None,
    json: Json = False,
) -> None:
    """List the models, or fetch one so that it is there offline."""
    if action not in ("list", "fetch") or (action == "fetch") != (name is not None):
        raise InputError("use `masklet models list` or `masklet models fetch NAME`")
    from masklet.models import weights

    if name is not None:
        path = weights.fetch(name)
        typer.echo(jsonlib.dumps({"name": name, "path": str(path)}) if json else f"{name}: {path}")
        return
    known = weights.describe_models()
    if json:
        typer.echo(jsonlib.dumps([_plain(each) for each in known]))
        return
    for each in known:
        where = each.location or "not fetched"
        size = "" if each.size_mb is None else f"{each.size_mb:.1f} MB"
        typer.echo(f"{each.name:8} {size:>10}  {where}  ({each.note})")


def _plain(info: "ModelInfo") -> dict[str, Any]:
    """A model's description as JSON can hold it."""
    return {**asdict(info), "location": info.location and str(info.location)}


@app.command()
def convert(
    *,
    path_in: Annotated[
        str, typer.Argument(metavar="IN", show_default=False, help="A file, a folder of shards, or tiny.")
    ],
    path_out: Annotated[Path, typer.Argument(metavar="OUT", show_default=False)],
    to: Annotated[str, typer.Option(help="masklet, official or transformers")] = "masklet",
    json: Json = False,
) -> None:
    """Rewrite weights in another format."""
    if to not in ("masklet", "official", "transformers"):
        raise InputError(f"unknown format {to!r}: choose from masklet, official, transformers")
    from masklet.models import weights

    weights.convert(path_in, path_out, to)
    typer.echo(jsonlib.dumps({"path": str(path_out), "format": to}) if json else f"wrote {path_out} as {to}")


@app.command()
def doctor(*, model: Model = "tiny", device: Device = "auto", dtype: Dtype = "auto", json: Json = False) -> None:
    """Say what is installed, what it will run on, and how fast."""
    from masklet.doctor import describe, examine

    report = examine(model, device, dtype)
    typer.echo(jsonlib.dumps(report) if json else "\n".join(describe(report)))
    if "problem" in report:
        raise typer.Exit(1)


@app.command()
def train(
    *,
    recipe: Annotated[str, typer.Argument(help="Name of a recipe that ships with masklet, or a YAML file.")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE...")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the run.")] = Path("run"),
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in that folder.")] = False,
    print_config: Annotated[bool, typer.Option("--print-config", help="Print the recipe in full and stop.")] = False,
    json: Json = False,
) -> None:
    """Train from a recipe; `key.sub=value` changes an entry of it."""
    for each in overrides or []:
        if "=" not in each:
            raise InputError(f"an override is key=value, not {each!r}")
    if print_config:
        from masklet.train.recipes import load_recipe, to_json

        typer.echo(to_json(load_recipe(recipe, overrides or [])))
        return
    from masklet.train import loop

    complete = loop.run(recipe, overrides or [], out, resume=resume)
    state = {"out": str(out), "complete": bool(complete)}
    typer.echo(jsonlib.dumps(state) if json else f"{'finished' if complete else 'stopped early'}: {out}")


if __name__ == "__main__":
    sys.exit(main())
