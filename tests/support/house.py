"""Facts about the folders of the source: circles of imports, numbers of files, lines against their budgets.

Run as a script (`make check` does) it prints the lines of each folder beside its budget.
"""

import ast
from collections import defaultdict
from collections.abc import Mapping
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "masklet"
MOST_FILES = 15  # of a folder, without its __init__.py

# Lines of Python by folder, rooms included. A folder that needs more is to be looked through first: what is said twice?
BUDGETS = {
    "": 1420,
    "agent": 2500,
    "checkpoints": 895,
    "cli": 2990,
    "data": 3430,
    "engine": 8360,
    "eval": 7185,
    "formats": 3050,
    "inference": 6090,
    "llm": 990,
    "mcp": 720,
    "media": 1190,
    "models": 2400,
    "nn": 530,
    "ops": 1110,
    "query": 2380,
    "render": 260,
    "scenes": 3090,
    "serve": 6950,
    "train": 4220,
    "workflows": 5920,
}


@cache
def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    paths = sorted(SOURCE.rglob("*.py"))
    names = (path.relative_to(SOURCE.parent).with_suffix("").as_posix().replace("/", ".") for path in paths)
    return {name.removesuffix(".__init__"): path for name, path in zip(names, paths, strict=True)}


@cache
def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports_of(module: str) -> set[str]:
    """The modules of the package that a module imports anywhere, for its types alone or within functions, too."""
    found = set()
    for node in ast.walk(parse(modules()[module])):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("masklet"):
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in modules() else str(node.module))
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name in modules()}
    return found - {module}


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Groups of modules each of which imports, through others, itself: strongly connected parts, by Tarjan."""
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    path: list[str] = []
    found: list[list[str]] = []

    def visit(module: str) -> None:
        order[module] = lowest[module] = len(order)
        path.append(module)
        for other in graph.get(module, ()):
            if other not in order:
                visit(other)
                lowest[module] = min(lowest[module], lowest[other])
            elif other in path:
                lowest[module] = min(lowest[module], order[other])
        if lowest[module] == order[module]:
            group = path[path.index(module) :]
            del path[path.index(module) :]
            if len(group) > 1:
                found.append(sorted(group))

    for module in graph:
        if module not in order:
            visit(module)
    return found


def files_of(folder: Path) -> list[str]:
    """Names of the Python files in a folder, without __init__.py."""
    return sorted(path.name for path in folder.glob("*.py") if path.name != "__init__.py")


def folders() -> list[Path]:
    """Every folder of the source that holds Python files."""
    return sorted({path.parent for path in modules().values()})


def public_classes() -> dict[str, list[str]]:
    """The modules that define a public class, by its name."""
    found: dict[str, list[str]] = defaultdict(list)
    for module, path in modules().items():
        for node in parse(path).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(module)
    return found


def lines() -> dict[str, int]:
    """Lines of Python by folder at the top of the package."""
    counts: dict[str, int] = defaultdict(int)
    for path in modules().values():
        parts = path.relative_to(SOURCE).parts
        counts[parts[0] if len(parts) > 1 else ""] += len(path.read_text(encoding="utf-8").splitlines())
    return {folder: count for folder, count in counts.items() if count}


def main() -> None:
    """Prints the table."""
    counted = lines()
    print(f"{'lines of':<14}{'now':>8}{'budget':>8}")
    for folder in sorted(counted):
        print(f"{folder or '(files)':<14}{counted[folder]:>8}{BUDGETS.get(folder, 0):>8}")
    print(f"{'in all':<14}{sum(counted.values()):>8}{sum(BUDGETS.values()):>8}")


if __name__ == "__main__":
    main()
