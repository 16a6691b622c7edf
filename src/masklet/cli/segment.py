"""`masklet segment`."""

import json as jsonlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from masklet.cli.app import Device, Dtype, Json, Model, app, complain, progress_bar
from masklet.errors import InputError
from masklet.files import write_atomically
from masklet.formats.calibration import Calibration, read_calibration
from masklet.workflows import segment_folder as folder

if TYPE_CHECKING:
    from masklet.inference.image.image_result import ImageResult


@app.command()
def segment(  # noqa: PLR0913 - one argument for each option
    *,
    images: Annotated[list[str], typer.Argument(help="Files, folders or patterns.", show_default=False)],
    phrase: Annotated[list[str] | None, typer.Option("--phrase", "-p", help="What to find; may be repeated.")] = None,
    box: Annotated[list[str] | None, typer.Option(help="Like this: x0,y0,x1,y1 in pixels; repeatable.")] = None,
    not_box: Annotated[list[str] | None, typer.Option(help="Not like this: x0,y0,x1,y1; repeatable.")] = None,
    threshold: Annotated[float | None, typer.Option(help="Keep scores above this, between 0 and 1.")] = None,
    calibration: Annotated[Path | None, typer.Option(help="Thresholds by phrase, from `masklet calibrate`.")] = None,
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
    calibrated = None if calibration is None else read_calibration(calibration)
    formats = folder.parse_formats(format)
    target = out or (None if json else Path("out"))
    jobs = folder.find_jobs(images, target)
    prompt = {"phrases": phrases or None, "boxes": boxes or None, "not_boxes": not_boxes or None}
    run = _SegmentRun(
        prompt=prompt | {"threshold": threshold},
        calibration=calibrated,
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
        self,
        *,
        prompt: dict[str, Any],
        calibration: Calibration | None,
        load: dict[str, str],
        formats: list[str],
        target: Path | None,
        json: bool,
    ) -> None:
        self.prompt, self.load, self.formats, self.target, self.json = prompt, load, formats, target, json
        self.calibration = calibration
        arguments = prompt | load | {"formats": formats, "calibration": calibration and calibration.digest}
        self.manifest = folder.Manifest.open(target, arguments) if target else None
        self._loaded: Any = None

    def all(self, jobs: list[folder.Job]) -> list[str]:
        failures: list[str] = []
        done_before = 0
        with self._recorded(), progress_bar(len(jobs), "images") as advance:
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
            found = model.segment(image, **self.prompt, calibration=self.calibration)
            result = replace(found, path=job.source)
        except InputError as error:
            self._fail(job, error, failures, alone=alone)
            return
        self._report(job, result)

    @staticmethod
    def _fail(job: folder.Job, error: InputError, failures: list[str], *, alone: bool) -> None:
        message = str(error) if job.source.name in str(error) else f"{job.source.name}: {error}"
        failures.append(message)
        if not alone:
            complain(message)

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
        from masklet.media.images import read_image

        image = read_image(job.source)
        boxes = (self.prompt["boxes"] or []) + (self.prompt["not_boxes"] or [])
        folder.check_boxes_inside(boxes, *image.shape[:2])
        return image

    def _model(self) -> Any:
        if self._loaded is None:
            import masklet

            name = self.load["name_or_path"]
            self._loaded = masklet.load(name, device=self.load["device"], dtype=self.load["dtype"])
            if self.calibration is not None:
                self.calibration.check_model(self._loaded.identity)
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
