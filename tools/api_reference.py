"""Write the reference part of docs/python-api.md from docstrings.

    python -m tools.api_reference

What stands above the marker is written by hand and kept. griffe reads the source without running it,
including the docstrings of attributes.
"""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import griffe

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "python-api.md"
MARKER = "<!-- From here on, this page is made from docstrings by `make docs-api`; do not edit it. -->\n"

SECTIONS = {
    "Pipelines and runs": (
        "penstock.Pipeline",
        "penstock.run",
        "penstock.jobs.runs.RunOptions",
        "penstock.jobs.runs.RunReport",
        "penstock.entities.ExecutionResult",
        "penstock.entities.Usage",
        "penstock.entities.Constraints",
    ),
    "Blocks": (
        "penstock.BaseBlock",
        "penstock.BaseMultiplierBlock",
        "penstock.llm.complete",
        "penstock.llm.Completion",
        "penstock.entities.Attempt",
        "penstock.entities.Target",
    ),
    "Gates": (
        "penstock.BaseGate",
        "penstock.gates.BasePartGate",
        "penstock.entities.Parts",
        "penstock.entities.Verdict",
        "penstock.entities.Finding",
    ),
    "Testing": (
        "penstock.testing.scripted_model",
        "penstock.testing.ModelServer",
        "penstock.testing.Reply",
        "penstock.testing.Answer",
        "penstock.testing.refusal",
        "penstock.testing.HANG",
        "penstock.testing.DROP",
        "penstock.testing.MALFORMED",
        "penstock.testing.echo",
        "penstock.testing.last_user_message",
    ),
}
"""What the reference describes, by the names that users import."""

_HIDDEN = {"model_config"}
"""Public names of classes that are not for users."""


_DESCRIBED = {name.rpartition(".")[2] for names in SECTIONS.values() for name in names}


def render() -> str:
    """The reference as Markdown."""
    source = griffe.load("penstock", search_paths=[ROOT / "src"])
    lines: list[str] = []
    for title, names in SECTIONS.items():
        lines += [f"## {title}", ""]
        for name in names:
            module, _, attribute = name.rpartition(".")
            lines += [f"### {attribute}", "", f"`from {module} import {attribute}`", ""]
            lines += _describe(_find(source, module, attribute))
    lines += [
        "## Errors",
        "",
        "All in `penstock.errors`; an indented one derives from the one above it.",
        "",
    ]
    lines += _describe_errors(source)
    return "\n".join(lines).rstrip() + "\n"


def update(page: str) -> str:
    """The page with its reference made anew."""
    written, marker, _ = page.partition(MARKER)
    if not marker:
        raise SystemExit(f"{PAGE} has no line {MARKER!r}")
    return f"{written}{MARKER}\n{render()}"


def _find(source: griffe.Object | griffe.Alias, module: str, name: str) -> griffe.Object:
    """The definition behind a name, which may be imported lazily from another module."""
    value = getattr(importlib.import_module(module), name)
    module = getattr(value, "__module__", module) if isinstance(value, type) or callable(value) else module
    found = source[f"{module}.{name}".removeprefix("penstock.")]
    assert isinstance(found, griffe.Object)
    return found


def _describe(found: griffe.Object) -> list[str]:
    if isinstance(found, griffe.Function):
        return [*_code(f"{_signature(found)}: ..."), "", *_text(found), ""]
    if isinstance(found, griffe.Attribute):
        return [*_code(f"{found.name} = {found.value}"), "", *_text(found), ""]
    assert isinstance(found, griffe.Class)
    bases = [str(base) for base in found.bases if str(base) in _DESCRIBED]
    lines = [f"Derives from `{bases[0]}`.", ""] if bases else []
    lines += [*_text(found), ""]
    for member in _members(found):
        lines += [f"- `{_declaration(member)}`", *(f"  {line}".rstrip() for line in _text(member))]
    return [*lines, ""]


def _code(text: str) -> list[str]:
    """A fenced block, formatted as ``make check`` asks of code in Markdown."""
    command = [sys.executable, "-m", "ruff", "format", "--stdin-filename", "reference.py", "-"]
    formatted = subprocess.run(command, input=text, cwd=ROOT, check=True, capture_output=True, text=True)
    return ["```python", *formatted.stdout.splitlines(), "```"]


def _members(found: griffe.Class) -> Iterator[griffe.Object]:
    """The constructor when it is written out, then the public attributes, then the public methods."""
    members = _with_undescribed_bases(found)
    public = [member for name, member in members.items() if name[0] != "_" and name not in _HIDDEN]
    if "__init__" in members and members["__init__"].lineno:
        yield members["__init__"]
    yield from (member for member in public if isinstance(member, griffe.Attribute))
    yield from (member for member in public if isinstance(member, griffe.Function))


def _with_undescribed_bases(found: griffe.Class) -> dict[str, griffe.Object]:
    """The members of a class and of those bases that the reference does not describe by themselves."""
    members: dict[str, griffe.Object] = {}
    for base in found.resolved_bases:
        if isinstance(base, griffe.Class) and base.name not in _DESCRIBED:
            members |= _with_undescribed_bases(base)
    return members | {name: each for name, each in found.members.items() if isinstance(each, griffe.Object)}


def _declaration(member: griffe.Object) -> str:
    if isinstance(member, griffe.Function):
        return _signature(member).replace("def ", "", 1)
    assert isinstance(member, griffe.Attribute)
    if member.annotation is None:
        return member.name
    default = "" if member.value is None else str(member.value)
    is_readable = default and not default.startswith(("_", "field("))
    return f"{member.name}: {member.annotation}" + (f" = {default}" if is_readable else "")


def _signature(function: griffe.Function) -> str:
    """``async def name(…) -> type`` without ``self``; the class's name stands for ``__init__``."""
    shown: list[str] = []
    for parameter in function.parameters:
        if parameter.name in {"self", "cls"}:
            continue
        if parameter.kind is griffe.ParameterKind.keyword_only and not any(each[0] == "*" for each in shown):
            shown.append("*")
        star = {griffe.ParameterKind.var_positional: "*", griffe.ParameterKind.var_keyword: "**"}
        text = star.get(parameter.kind, "") + parameter.name if parameter.kind else parameter.name
        text += f": {parameter.annotation}" if parameter.annotation else ""
        shown.append(f"{text} = {parameter.default}" if parameter.default and text[0] != "*" else text)
    keyword = "async def" if "async" in function.labels else "def"
    if function.name == "__init__" and function.parent is not None:
        return f"{keyword} {function.parent.name}({', '.join(shown)})"
    returns = f" -> {function.returns}" if function.returns else ""
    return f"{keyword} {function.name}({', '.join(shown)}){returns}"


def _text(found: griffe.Object) -> list[str]:
    """The docstring's lines in Markdown: code in single marks, examples indented."""
    text = found.docstring.value if found.docstring is not None else ""
    text = re.sub(r"^>>> ", "    >>> ", text, flags=re.MULTILINE)
    return re.sub(r"``([^`]+)``", r"`\1`", text).splitlines()


def _describe_errors(source: griffe.Object | griffe.Alias) -> list[str]:
    errors = [each for each in source["errors"].members.values() if isinstance(each, griffe.Class)]

    def below(base: str, depth: int) -> Iterator[str]:
        for error in errors:
            if str(error.bases[0]) == base:
                yield f"{'  ' * depth}- `{error.name}`: {' '.join(_text(error)[:1])}"
                yield from below(error.name, depth + 1)

    return list(below("Exception", 0))


def main() -> int:
    """Write the page."""
    PAGE.write_text(update(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
