"""What holds for every command: help with examples, versions, exit statuses, the log, standard input."""

import io
import logging
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from masklet import __version__
from masklet.cli import display, main
from masklet.cli.app import WrongUsage, start_log
from masklet.cli.display import Display
from masklet.cli.standard_input import with_standard_input
from masklet.errors import InputError
from masklet.train.recipes.listing import describe_recipes

COMMANDS = ["demo", "segment", "track", "train", "train-report", "calibrate", "models", "convert", "doctor", "merge"]
ENGINE = ["run", "review", "correct-import", "export", "snapshot", "loop", "clips", "mine", "alike", "gold", "why"]
EVALUATIONS = ["concepts", "video", "vos", "clicks", "coco", "counting", "semantic", "verdicts", "report", "compare"]


@pytest.mark.parametrize(
    "command", [*COMMANDS, *(f"eval {each}" for each in EVALUATIONS), *(f"engine {each}" for each in ENGINE)]
)
def test_every_help_has_examples_and_no_types_of_python(command: str, capsys: pytest.CaptureFixture) -> None:
    assert main([*command.split(), "-h"]) == 0
    page = capsys.readouterr().out
    assert f"masklet {command}" in page.split("Examples:")[1]
    assert "list[" not in page
    assert "--quiet" in page


def test_the_version_is_printed(capsys: pytest.CaptureFixture) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"masklet {__version__}\n"


def test_without_a_recipe_train_lists_them_with_a_line_each(capsys: pytest.CaptureFixture) -> None:
    assert main(["train"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(describe_recipes())
    assert {"finetune", "finetune-lora"} <= describe_recipes().keys()
    assert all(len(text) > 10 for text in describe_recipes().values())


def test_help_and_models_load_neither_torch_nor_readers_of_labels() -> None:
    for arguments, heavy in (("['--help']", "{'torch', 'pydantic', 'scipy'}"), ("['models']", "{'torch'}")):
        code = (
            f"import sys, masklet.cli; masklet.cli.main({arguments}); sys.exit(str({heavy} & set(sys.modules) or ''))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.stderr.strip() == "", done.stderr


@pytest.mark.parametrize(("verbose", "quiet", "seen"), [(False, False, "bc"), (True, False, "abc"), (False, True, "c")])
def test_the_log_says_more_or_less(*, verbose: bool, quiet: bool, seen: str, capsys: pytest.CaptureFixture) -> None:
    start_log(verbose=verbose, quiet=quiet)
    log = logging.getLogger("masklet")
    log.debug("a")
    log.info("b")
    log.warning("c")
    assert capsys.readouterr().err == "".join(f"masklet: {each}\n" for each in seen)


def test_without_a_terminal_progress_is_a_line_every_thirty_seconds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    clock = [0.0]
    monkeypatch.setattr(display, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    start_log(verbose=False, quiet=False)
    with Display() as shown:
        shown.started(100, "images")
        for _ in range(7):
            clock[0] += 10
            shown.advanced()
    assert capsys.readouterr().err == "masklet: 3 of 100 images done\nmasklet: 6 of 100 images done\n"


def pipe(monkeypatch: pytest.MonkeyPatch, content: bytes, *, terminal: bool = False) -> None:
    stdin = SimpleNamespace(buffer=io.BytesIO(content), isatty=lambda: terminal)
    monkeypatch.setattr(sys, "stdin", stdin)


def test_a_dash_is_standard_input_for_as_long_as_the_command_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe(monkeypatch, b"content")
    with with_standard_input(["a.png", "-"]) as (first, second):
        assert first == "a.png"
        assert Path(second).read_bytes() == b"content"
    assert not Path(second).exists()


def test_nothing_on_standard_input_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe(monkeypatch, b"")
    with pytest.raises(InputError, match="empty"), with_standard_input(["-"]):
        pass
    pipe(monkeypatch, b"", terminal=True)
    with pytest.raises(WrongUsage, match="nothing is piped"), with_standard_input(["-"]):
        pass
