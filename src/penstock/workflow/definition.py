"""Pipeline files: YAML or JSON, read safely, with the line of everything in them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import yaml

from penstock.errors import DefinitionError

MAX_BYTES = 2 * 1024 * 1024
"""The largest pipeline file; beyond it somebody gave another file by mistake."""
MAX_NODES = 100_000
"""The most values a pipeline file may hold once its anchors are unfolded."""
MAX_DEPTH = 60
"""The deepest that a pipeline file may be nested."""


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # chosen at run time
    """Safe YAML as of version 1.2: ``yes``, ``no``, ``on`` and dates are text."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's own name
    yaml_constructors = {  # noqa: RUF012 - PyYAML's own name; only what JSON can hold
        tag: construct
        for tag, construct in yaml.SafeLoader.yaml_constructors.items()
        if tag is None or tag.rpartition(":")[2] in {"null", "bool", "int", "float", "str", "seq", "map"}
    }


for _tag, _pattern, _first in (
    ("bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), "tTfF"),
    ("int", re.compile(r"^(?:[-+]?(?:0|[1-9][0-9]*)|0x[0-9a-fA-F]+)$"), "-+0123456789"),
    (
        "float",
        re.compile(
            r"^(?:[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.nan)$"
        ),
        "-+0123456789.",
    ),
    ("merge", re.compile(r"^(?:<<)$"), "<"),
    ("null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", _pattern, list(_first))


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A key that a mapping has twice; ``line`` is that of the second."""

    path: tuple[str | int, ...]
    line: int
    first_line: int


class SourceMap:
    """Where in a pipeline's text its values stand; knows no line when the text cannot be read."""

    def __init__(self, source: str) -> None:
        try:
            self._root = _compose(source)
        except DefinitionError:
            self._root = None

    def line(self, path: Sequence[str | int]) -> int | None:
        """The line, from 1, of the value at ``path``, or of the innermost value around it that exists."""
        node = self._root
        if node is None:
            return None
        line: int = node.start_mark.line + 1
        for part in path:
            step = _step_into(node, part)
            if step is None:
                break
            node, line = step
        return line

    def duplicates(self) -> Iterator[Duplicate]:
        """Every key that stands twice in the same mapping."""
        waiting: list[tuple[tuple[str | int, ...], Any]] = [((), self._root)]
        seen: set[int] = set()
        while waiting:
            path, node = waiting.pop()
            if node is None or id(node) in seen:
                continue
            seen.add(id(node))
            if isinstance(node, yaml.SequenceNode):
                waiting.extend(((*path, index), item) for index, item in enumerate(node.value))
            elif isinstance(node, yaml.MappingNode):
                lines: dict[str, int] = {}
                for key, value in node.value:
                    name = key.value if isinstance(key, yaml.ScalarNode) else ""
                    line = key.start_mark.line + 1
                    if name in lines and name != "<<":
                        yield Duplicate((*path, name), line, lines[name])
                    lines[name] = line
                    waiting.append(((*path, name), value))


def load_definition(source: str | Path) -> tuple[dict[str, Any], str]:
    """The definition in a YAML or JSON file, or in such a text, and the text itself.

    A string is taken as a path unless it has several lines or begins a mapping. Raises DefinitionError, with
    the line, when it cannot be read or is not a mapping.
    """
    name, text = _read(source)
    if name.lower().endswith(".json"):
        try:
            orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise DefinitionError(
                f"{name} line {error.lineno}: this is not valid JSON: {error.msg} (column {error.colno}).",
                {"line": error.lineno},
            ) from error
    definition = _construct(text, name)
    if not isinstance(definition, dict):
        raise DefinitionError(
            f"{name} holds {_describe(definition)}; a pipeline is a mapping with 'name' and 'blocks'."
        )
    return definition, text


def _read(source: str | Path) -> tuple[str, str]:
    if isinstance(source, str) and ("\n" in source or source.lstrip().startswith("{") or ": " in source):
        return "The pipeline", _checked_size(source, "The pipeline")
    path = Path(source)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DefinitionError(f"{path} is larger than {MAX_BYTES // 1024:,} KB and no pipeline file.")
        return path.name, path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        raise DefinitionError(f"There is no pipeline file {path}.") from error
    except UnicodeDecodeError as error:
        raise DefinitionError(f"{path.name} is not UTF-8 text. Save the file as UTF-8.") from error
    except (OSError, ValueError) as error:
        raise DefinitionError(f"The pipeline file {path} cannot be read: {error}.") from error


def _checked_size(text: str, name: str) -> str:
    if len(text) > MAX_BYTES:
        raise DefinitionError(f"{name} is larger than {MAX_BYTES // 1024:,} KB.")
    return text


def _compose(text: str, name: str = "The pipeline") -> Any:
    """The node tree of a YAML or JSON text; raises DefinitionError."""
    try:
        loader = _Loader(_checked_size(text, name))
        try:
            root = loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise _unreadable(error, name) from error
    except (ValueError, RecursionError) as error:
        raise DefinitionError(f"{name} cannot be read: {error}.") from error
    _refuse_bombs(root, name)
    return root


def _construct(text: str, name: str) -> Any:
    root = _compose(text, name)
    if root is None:
        raise DefinitionError(f"{name} is empty; a pipeline is a mapping with 'name' and 'blocks'.")
    loader = _Loader("")
    try:
        return loader.construct_document(root)
    except yaml.YAMLError as error:
        raise _unreadable(error, name) from error
    except (ValueError, LookupError, OverflowError, RecursionError) as error:
        raise DefinitionError(f"{name} cannot be read: {error}.") from error
    finally:
        loader.dispose()


def _unreadable(error: yaml.YAMLError, name: str) -> DefinitionError:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    what = getattr(error, "problem", None) or str(error).partition("\n")[0]
    if mark is None:
        return DefinitionError(f"{name} is not valid YAML: {what}.")
    return DefinitionError(
        f"{name} line {mark.line + 1}: this is not valid YAML: {what} (column {mark.column + 1}).",
        {"line": mark.line + 1},
    )


def _refuse_bombs(root: Any, name: str) -> None:
    """Refuse what is small as a text and large as data, and what contains itself."""
    weights: dict[int, int] = {}
    open_nodes: set[int] = set()
    stack: list[tuple[Any, bool]] = [(root, False)]
    while stack:
        node, done = stack.pop()
        children = _children(node)
        if done:
            open_nodes.discard(id(node))
            weights[id(node)] = 1 + sum(weights[id(child)] for child in children)
            if weights[id(node)] > MAX_NODES:
                raise DefinitionError(f"{name} holds more than {MAX_NODES:,} values once its anchors unfold.")
            continue
        if id(node) in open_nodes:
            raise DefinitionError(f"{name} has an anchor that contains itself.")
        if id(node) in weights:
            continue
        if len(open_nodes) >= MAX_DEPTH:
            raise DefinitionError(f"{name} is nested more than {MAX_DEPTH} levels deep.")
        open_nodes.add(id(node))
        stack.append((node, True))
        stack.extend((child, False) for child in children)


def _children(node: Any) -> list[Any]:
    if isinstance(node, yaml.SequenceNode):
        return list(node.value)
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return []


def _step_into(node: Any, part: str | int) -> tuple[Any, int] | None:
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and 0 <= part < len(node.value):
        item = node.value[part]
        return item, item.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, value in reversed(node.value):
            if isinstance(key, yaml.ScalarNode) and key.value == str(part):
                return value, key.start_mark.line + 1
    return None


def _describe(value: object) -> str:
    if value is None:
        return "nothing"
    return {"list": "a list", "str": "text"}.get(type(value).__name__, f"a {type(value).__name__}")
