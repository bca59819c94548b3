"""YAML as penstock reads it, in pipeline files and in templates alike: version 1.2, plain data, bounded.

JSON is a subset of YAML 1.2, so JSON texts are read here too. Nothing but what JSON can hold comes out, and a
small text cannot become large data: the number of its values, its nesting and its aliases are limited.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from penstock.errors import DefinitionError

MAX_BYTES = 2 * 1024 * 1024
"""The size of the largest text; a larger one was most likely given by mistake."""
MAX_NODES = 100_000
"""The most values of a text, each alias counted as a copy of what it refers to."""
MAX_DEPTH = 60
"""The deepest nesting of mappings and lists."""

_JSON_TAGS = {"null", "bool", "int", "float", "str", "seq", "map"}


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # chosen at run time
    """Safe YAML as of version 1.2: ``yes``, ``no``, ``on`` and dates are text."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's own name
    yaml_constructors = {  # noqa: RUF012 - PyYAML's own name
        tag: construct
        for tag, construct in yaml.SafeLoader.yaml_constructors.items()
        if tag is None or tag.rpartition(":")[2] in _JSON_TAGS
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


def load_yaml(text: str, name: str = "", *, max_aliases: int | None = None) -> Any:
    """The value of a YAML or JSON text; None when the text is empty.

    ``name`` is what error messages call the text, such as a file's name. Raises DefinitionError, with the
    line where there is one, for text that is not YAML, holds other than plain data, or exceeds a limit.
    """
    root = _compose(text, name, max_aliases)
    if root is None:
        return None
    loader = _Loader("")
    try:
        return loader.construct_document(root)
    except yaml.YAMLError as error:
        raise _syntax_error(error, name) from error
    except (ValueError, LookupError, OverflowError, RecursionError) as error:
        raise DefinitionError(f"{_subject(name)} cannot be read: {error}.") from error
    finally:
        loader.dispose()


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A key that a mapping has twice; ``line`` is that of the second."""

    path: tuple[str | int, ...]
    line: int
    first_line: int


class SourceMap:
    """The line of each value in a text; knows no line when the text cannot be read."""

    def __init__(self, text: str) -> None:
        try:
            self._root = _compose(text, "", None)
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
        """Every key that occurs twice in the same mapping."""
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


def _compose(text: str, name: str, max_aliases: int | None) -> Any:
    """The node tree of a text; None when it is empty. Raises DefinitionError."""
    if len(text) > MAX_BYTES:
        raise DefinitionError(f"{_subject(name)} is larger than {MAX_BYTES // 1024:,} KB.")
    try:
        loader = _Loader(text)
        try:
            root = loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise _syntax_error(error, name) from error
    except (ValueError, RecursionError) as error:
        raise DefinitionError(f"{_subject(name)} cannot be read: {error}.") from error
    if root is not None:
        _check_limits(root, name, max_aliases)
    return root


def _check_limits(root: Any, name: str, max_aliases: int | None) -> None:
    """Raise DefinitionError for a text that becomes too much data, or that contains itself."""
    sizes: dict[int, int] = {}  # number of values in a node, its aliases counted in full
    ancestors: set[int] = set()
    aliases = 0
    stack: list[tuple[Any, bool]] = [(root, False)]
    while stack:
        node, is_done = stack.pop()
        children = _children(node)
        if is_done:
            ancestors.discard(id(node))
            sizes[id(node)] = 1 + sum(sizes[id(child)] for child in children)
            if sizes[id(node)] > MAX_NODES:
                raise DefinitionError(
                    f"{_subject(name)} holds more than {MAX_NODES:,} values once its anchors unfold."
                )
            continue
        if id(node) in ancestors:
            raise DefinitionError(f"{_subject(name)} has an anchor that contains itself.")
        if id(node) in sizes:
            aliases += 1
            if max_aliases is not None and aliases > max_aliases:
                raise DefinitionError(f"{_subject(name)} has more than {max_aliases} aliases.")
            continue
        if len(ancestors) >= MAX_DEPTH:
            raise DefinitionError(f"{_subject(name)} is nested more than {MAX_DEPTH} levels deep.")
        ancestors.add(id(node))
        stack.append((node, True))
        stack.extend((child, False) for child in children)


def _syntax_error(error: yaml.YAMLError, name: str) -> DefinitionError:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    reason = getattr(error, "problem", None) or str(error).partition("\n")[0]
    if mark is None:
        return DefinitionError(f"{_subject(name)} is not valid YAML: {reason}.")
    place = f"{name} line {mark.line + 1}".lstrip()
    return DefinitionError(
        f"{place}: this is not valid YAML: {reason} (column {mark.column + 1}).", {"line": mark.line + 1}
    )


def _subject(name: str) -> str:
    return name or "it"


def _children(node: Any) -> list[Any]:
    if isinstance(node, yaml.SequenceNode):
        return list(node.value)
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return []


def _step_into(node: Any, part: str | int) -> tuple[Any, int] | None:
    """The node at one key or index of ``node``, and its line."""
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and 0 <= part < len(node.value):
        item = node.value[part]
        return item, item.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, value in reversed(node.value):
            if isinstance(key, yaml.ScalarNode) and key.value == str(part):
                return value, key.start_mark.line + 1
    return None
