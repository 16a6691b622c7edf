"""A photo session as the program, and as the commands, that make it again in the folder of the photo."""

import json
import shlex
from collections.abc import Sequence

from masklet.serve.schemas import ScriptView
from masklet.serve.sessions.photo_state import PhotoConcept, PhotoHistory, PhotoObject
from masklet.workflows.model_choice import ModelChoice

FLAGS = (("boxes", "--box"), ("not_boxes", "--not-box"))


def script_of(name: str, history: PhotoHistory, model: str) -> ScriptView:
    """The session so far; what was drawn by hand is named and left out, and clicks are there in Python alone."""
    asked = _requests(history.now.concepts)
    cut = str(round(float(history.threshold), 4))
    lines = [line for group in asked for line in _python_of(group, name, cut)]
    lines += [line for each in history.now.objects for line in _python_of_object(each)]
    if all(line.startswith("#") for line in lines):
        lines.append("pass  # nothing was asked that a program can ask")
    head = ["import masklet", "", f"model = masklet.load({json.dumps(model)})"]
    body = [f"    {line}" for line in _numbered(lines)]
    python = [*head, f"with model.open({json.dumps(name)}) as session:", *body]
    commands = [command for group in asked for command in _commands_of(group, name, cut)]
    also = "" if model == ModelChoice().name else f" --model {shlex.quote(model)}"
    # A second command would write over what the first has made
    places = [f" --out out-{place}" if place > 1 else "" for place in range(1, len(commands) + 1)]
    shell = "".join(f"{command}{also}{out}\n" for command, out in zip(commands, places, strict=True))
    return ScriptView(python="\n".join(python) + "\n", command_line=shell)


def _requests(concepts: Sequence[PhotoConcept]) -> list[tuple[PhotoConcept, ...]]:
    """Concepts as they are asked: mere phrases in one request, each other one by itself."""
    plain = tuple(each for each in concepts if not (each.boxes or each.not_boxes or each.explanation or each.kept))
    return [*([plain] if plain else []), *((each,) for each in concepts if each not in plain)]


def _python_of(group: Sequence[PhotoConcept], name: str, cut: str) -> list[str]:
    first, phrases = group[0], [each.phrase for each in group]
    if first.explanation:
        return [f"answer = model.ask({json.dumps(name)}, {json.dumps(first.phrase)}, threshold={cut})"]
    if first.kept:
        return [f"# {json.dumps(first.phrase)} has its examples on another photo: session.keep, find_like"]
    words = json.dumps(phrases[0] if len(phrases) == 1 else phrases)
    boxes = [f"{key}={[_short(box) for box in getattr(first, key)]}" for key, _ in FLAGS if getattr(first, key)]
    return [f"result = session.find({', '.join([*([words] if first.phrase else []), *boxes, f'threshold={cut}'])})"]


def _python_of_object(each: PhotoObject) -> list[str]:
    if each.source == "click" and each.prompt is None:
        points = [_short(point) for point in each.points]
        box = f", box={_short(each.around)}" if each.around else ""
        return [f"clicked = session.click({points}, {list(each.labels)}{box})"]
    if each.source in ("click", "hand"):
        return [f"# object {each.id} was drawn or corrected by hand: export it as COCO"]
    return []


def _commands_of(group: Sequence[PhotoConcept], name: str, cut: str) -> list[str]:
    first, file = group[0], shlex.quote(f"./{name}" if name.startswith("-") else name)
    if first.kept:
        return []
    if first.explanation:
        dashes = "-- " if first.phrase.startswith("-") else ""
        return [f"masklet ask --threshold {cut} {dashes}{file} {shlex.quote(first.phrase)}"]
    words = [f"-p {shlex.quote(each.phrase)}" for each in group if each.phrase]
    boxes = [f"{flag} {','.join(map(str, _short(box)))}" for key, flag in FLAGS for box in getattr(first, key)]
    return [f"masklet segment {file} {' '.join([*words, *boxes])} --threshold {cut}"]


def _numbered(lines: Sequence[str]) -> list[str]:
    """Lines whose results have names of their own: result, result_2, and so on."""
    seen: dict[str, int] = {}
    numbered = []
    for line in lines:
        name, sign, rest = line.partition(" = ")
        if not sign or not name.isidentifier():
            numbered.append(line)
            continue
        seen[name] = seen.get(name, 0) + 1
        numbered.append(f"{name}_{seen[name]} = {rest}" if seen[name] > 1 else line)
    return numbered


def _short(values: tuple[float, ...]) -> tuple[float | int, ...]:
    return tuple(int(value) if float(value).is_integer() else round(value, 1) for value in values)
