"""Check the size of functions, classes and modules, and that no import cycle exists.

    python -m tools.check_structure

import-linter checks cycles between packages. This check adds those through a package's ``__init__``:
``penstock.llm`` imports ``penstock.llm.client``, and that imports a name from ``penstock.llm``. Imports in
functions count as well. Imports for type checkers (``if TYPE_CHECKING``) do not: they never run.

ruff checks the number of parameters (PLR0913), of statements (PLR0915) and of branches (C901).
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ("src", "tools", "benchmarks", "tests/support")

MAX_MODULE_LINES = 400
MAX_CLASS_LINES = 300
MAX_FUNCTION_LINES = 60


def list_long_parts(source: str) -> Iterator[str]:
    """A line for the module and for each class and function that is too long; decorators do not count."""
    length = len(source.splitlines())
    if length > MAX_MODULE_LINES:
        yield f"1: the module has {length} lines; at most {MAX_MODULE_LINES} are allowed"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef):
            kind, most = "class", MAX_CLASS_LINES
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            kind, most = "function", MAX_FUNCTION_LINES
        else:
            continue
        length = (node.end_lineno or node.lineno) - node.lineno + 1
        if length > most:
            yield f"{node.lineno}: the {kind} {node.name} has {length} lines; at most {most} are allowed"


def read_imports(sources: Mapping[str, str]) -> dict[str, set[str]]:
    """Which of the given modules each module imports when it runs.

    ``sources`` maps module names to source texts. To import a module is to import its packages first, so
    ``import a.b.c`` counts for ``a`` and ``a.b`` too, except for those that contain the importing module:
    they are already being imported. ``from a import b`` always counts for ``a``: the name is looked up in it.
    """
    imports: dict[str, set[str]] = {}
    for module, source in sources.items():
        found = imports.setdefault(module, set())
        for name, is_looked_up in _imported_names(ast.parse(source)):
            parts = name.split(".")
            prefixes = {".".join(parts[: end + 1]) for end in range(len(parts))}
            found |= {each for each in prefixes if not f"{module}.".startswith(f"{each}.")}
            if is_looked_up:
                found.add(name)
        found &= sources.keys()
        found.discard(module)
    return imports


def find_cycles(imports: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """Cycles of the graph, each as a path that ends where it starts; none of them shares its last import."""
    graph = {module: set(imported) for module, imported in imports.items()}
    cycles = []
    while True:
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            cycle = list(reversed(error.args[1]))  # the sorter lists what is imported before what imports it
            cycles.append(cycle)
            graph[cycle[-2]].discard(cycle[-1])
        else:
            return cycles


def _imported_names(node: ast.AST) -> Iterator[tuple[str, bool]]:
    """Names that a module imports; and whether names are looked up in this one (``from it import …``)."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from ((alias.name, False) for alias in child.names)
        elif isinstance(child, ast.ImportFrom) and child.module and not child.level:
            yield child.module, True
            yield from ((f"{child.module}.{alias.name}", False) for alias in child.names)
        elif isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            for statement in child.orelse:
                yield from _imported_names(statement)
        else:
            yield from _imported_names(child)


def read_modules(root: Path, package: str) -> dict[str, str]:
    """The source of each module of a package by its name."""
    return {
        ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): path.read_text(
            encoding="utf-8"
        )
        for path in sorted((root / package).rglob("*.py"))
    }


def main() -> int:
    """Print each issue; exit status 1 when there is one."""
    issues = [
        f"{path.relative_to(ROOT)}:{issue}"
        for folder in SOURCES
        for path in sorted((ROOT / folder).rglob("*.py"))
        for issue in list_long_parts(path.read_text(encoding="utf-8"))
    ]
    modules = read_modules(ROOT / "src", "penstock")
    issues += [f"import cycle: {' → '.join(cycle)}" for cycle in find_cycles(read_imports(modules))]
    print(*issues, sep="\n", end="\n" if issues else "")
    print(f"Structure: {len(modules)} modules, {len(issues)} issues")
    return 1 if issues else 0


if __name__ == "__main__":
    sys.exit(main())
