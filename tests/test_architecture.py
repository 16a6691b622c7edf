"""What no single file can promise: imports point down, files stay small, and importing masklet is quick and quiet.

The imports between folders are contracts in pyproject.toml; the rules are told in docs/architecture.md.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "masklet"
FILES = sorted(SOURCE.rglob("*.py"))

LONGEST_FILE, LONGEST_FUNCTION, LONGEST_ENTRY = 500, 80, 120
ENTRY_FOLDER = "cli/"
NEVER_AT_IMPORT = {"torchvision", "triton", "timm", "cv2", "pycocotools", "ftfy", "transformers", "supervision"}
NEVER_AT_IMPORT |= {"faster_coco_eval", "matplotlib", "jinja2", "trackeval"}
WITHOUT_FILES = ("models", "nn", "ops")  # of these, only models/weights.py reads and writes
FILE_MODULES = {"pathlib", "os", "io", "shutil", "tempfile", "safetensors", "huggingface_hub", "PIL", "av", "json"}
FILE_CALLS = {"open", "torch.load", "torch.save"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def name(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


def at(path: Path, node: ast.stmt | ast.expr | ast.excepthandler) -> str:
    return f"{name(path)}:{node.lineno}"


def nodes_run_at_import(body: list[ast.stmt]) -> Iterator[ast.AST]:
    """All nodes but those inside functions."""
    for node in body:
        if not isinstance(node, Function):
            yield node
            yield from nodes_run_at_import([child for child in ast.iter_child_nodes(node)])  # type: ignore[misc]


def imported(node: ast.AST) -> set[str]:
    """Top-level packages that an import statement names."""
    if isinstance(node, ast.Import):
        return {alias.name.split(".")[0] for alias in node.names}
    if isinstance(node, ast.ImportFrom):
        return {(node.module or "").split(".")[0]}
    return set()


def run_python(code: str) -> None:
    """Runs code in a fresh interpreter, which must end well."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]


def test_the_import_contracts_hold():
    tool = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    done = subprocess.run([sys.executable, "-c", tool], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[done.stdout.find("Broken contracts") :] + done.stderr


def test_heavy_packages_are_imported_by_functions_only():
    found = [
        at(path, node)
        for path in FILES
        for node in nodes_run_at_import(parse(path).body)
        if isinstance(node, ast.Import | ast.ImportFrom) and imported(node) & NEVER_AT_IMPORT
    ]
    assert not found


def test_the_model_touches_no_files():
    found = []
    for path in FILES:
        if name(path).split("/")[0] not in WITHOUT_FILES or name(path).startswith("models/weights"):
            continue
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.Import | ast.ImportFrom) and imported(node) & FILE_MODULES:
                found.append(at(path, node))
            if isinstance(node, ast.Call) and ast.unparse(node.func) in FILE_CALLS:
                found.append(at(path, node))
    assert not found


def test_files_are_short():
    lengths = {name(path): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert not {file: length for file, length in lengths.items() if length > LONGEST_FILE}


def test_functions_are_short():
    found = {}
    for path in FILES:
        limit = LONGEST_ENTRY if name(path).startswith(ENTRY_FOLDER) else LONGEST_FUNCTION
        for node in ast.walk(parse(path)):
            if isinstance(node, Function) and (length := (node.end_lineno or 0) - node.lineno + 1) > limit:
                found[f"{at(path, node)} {node.name}"] = length
    assert not found


def test_every_file_and_public_name_says_what_it_is():
    found = []
    for path in FILES:
        tree = parse(path)
        if tree.body and not ast.get_docstring(tree):
            found.append(name(path))
        functions = [node for node in tree.body if isinstance(node, Function)]
        classes = [node for node in nodes_run_at_import(tree.body) if isinstance(node, ast.ClassDef)]
        for node in (*functions, *classes):
            if not node.name.startswith("_") and not ast.get_docstring(node):
                found.append(f"{at(path, node)} {node.name}")
    assert not found


def test_the_library_prints_nothing():
    found = [
        at(path, node)
        for path in FILES
        if not name(path).startswith(ENTRY_FOLDER)
        for node in ast.walk(parse(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert not found


def test_no_error_is_swallowed_without_saying_which():
    found = []
    for path in FILES:
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.ExceptHandler):
                caught = ast.unparse(node.type) if node.type else "BaseException"
                anything = {"Exception", "BaseException"} & set(caught.strip("()").split(", "))
                if anything and not isinstance(node.body[-1], ast.Raise):
                    found.append(at(path, node))
    assert not found


@pytest.mark.parametrize("module", ["masklet", "masklet.cli"])
def test_importing_it_leaves_torch_alone(module):
    run_python(f"import sys, {module}; sys.exit('torch is imported' if 'torch' in sys.modules else 0)")


def test_the_built_in_model_finds_things_without_the_compiler():
    """Its import takes three seconds, and an initialisation on the device "meta" is enough to begin it."""
    run_python("""
import sys
import numpy as np
import masklet

masklet.load("tiny").segment(np.zeros((64, 64, 3), np.uint8), "cat")
sys.exit("the compiler is imported" if "torch._dynamo" in sys.modules else 0)
""")


def test_every_module_imports_without_optional_packages_and_without_network():
    run_python(f"""
import importlib, pkgutil, socket, sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {NEVER_AT_IMPORT!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

def refuse(*arguments, **options):
    raise AssertionError("a connection was opened while importing")

sys.meta_path.insert(0, Missing())
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
import masklet
for module in pkgutil.walk_packages(masklet.__path__, "masklet."):
    importlib.import_module(module.name)
""")
