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

_ENTRY = re.compile(r"(?P<start>\s*(?:- )*(?:[^\s:'\"][^:'\"]*:\s+)?)(?P<value>.*?)\s*$")
"""A line that is an entry of a mapping or a list, for the explanation of mistakes."""
_QUOTED = re.compile(r"""(?<![\w\]])(?:"(?:\\.|[^"\\])*"|'(?:''|[^'])*')""")
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
        raise _syntax_error(error, text, name) from error
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


_COMMENT = re.compile(r"[ \t]+#.*")


class SourceMap:
    """The line of each value in a text; knows no line when the text cannot be read."""

    def __init__(self, text: str) -> None:
        self._text = text
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
        for path, node in self._nodes():
            if isinstance(node, yaml.MappingNode):
                lines: dict[str, int] = {}
                for key, _ in node.value:
                    name, line = _name(key), key.start_mark.line + 1
                    if name in lines and name != "<<":
                        yield Duplicate((*path, name), line, lines[name])
                    lines[name] = line

    def cut_texts(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """Every text of several words without quotes that a comment follows, with that comment.

        The text may have been meant to go on: YAML takes `` #`` for the beginning of a comment.
        """
        for path, node in self._nodes():
            if isinstance(node, yaml.ScalarNode) and not node.style and " " in node.value:
                end = self._text.find("\n", node.end_mark.index)
                rest = self._text[node.end_mark.index : end if end >= 0 else None]
                if _COMMENT.fullmatch(rest.rstrip()):
                    yield path, rest.strip()

    def _nodes(self) -> Iterator[tuple[tuple[str | int, ...], Any]]:
        """Every value with its path, each node once."""
        waiting: list[tuple[tuple[str | int, ...], Any]] = [((), self._root)]
        seen: set[int] = set()
        while waiting:
            path, node = waiting.pop()
            if node is None or id(node) in seen:
                continue
            seen.add(id(node))
            yield path, node
            if isinstance(node, yaml.SequenceNode):
                waiting.extend(((*path, index), item) for index, item in enumerate(node.value))
            elif isinstance(node, yaml.MappingNode):
                waiting.extend(((*path, _name(key)), value) for key, value in node.value)


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
        raise _syntax_error(error, text, name) from error
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


def _syntax_error(error: yaml.YAMLError, text: str, name: str) -> DefinitionError:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    reason = getattr(error, "problem", None) or str(error).partition("\n")[0]
    if mark is None:
        return DefinitionError(f"{_subject(name)} is not valid YAML: {reason}.")
    opened = getattr(error, "context_mark", None)
    if opened is not None and "quoted scalar" in str(getattr(error, "context", "")):
        mark = opened  # where the quote begins, not where the text ends
    reason = _explain_slip(text, mark.line, str(reason)) or reason
    place = f"{name} line {mark.line + 1}".lstrip()
    return DefinitionError(
        f"{place}: this is not valid YAML: {reason} (column {mark.column + 1}).", {"line": mark.line + 1}
    )


def _explain_slip(text: str, number: int, reason: str) -> str | None:
    """What to write instead, for the commonest mistakes; ``number`` is the line of the error, from 0."""
    lines = text.splitlines()
    line = lines[number] if number < len(lines) else ""
    before = next((other for other in reversed(lines[:number]) if other.strip()), "")
    if any("\t" in each[: len(each) - len(each.lstrip())] for each in (line, before)):
        return "indent with spaces, not with tabs"
    suspects = (line, before) if "node content" in reason else (line,)
    for each in suspects:
        bare = _QUOTED.sub("", each)
        if mark := next((mark for mark in ("{{", "{%", "{#") if mark in bare), None):
            example = _quote_value(each) or "user_prompt: '{{ text }}'"
            return f"put text with {mark} in quotes, such as {example}"
    if "escape" in reason:
        return "a backslash in double quotes begins an escape: use single quotes, or write it twice"
    if "end of stream" in reason:
        return "a quote that begins here is not closed"
    return _explain_value(line, reason) or _explain_structure(before, reason)


def _explain_value(line: str, reason: str) -> str | None:
    """What to write instead of a value that needs quotes."""
    found = _ENTRY.match(line)
    value = found["value"] if found else ""
    first, quoted = value[:1], _quote_value(line) or "'…'"
    has_key = found is not None and ":" in found["start"]
    is_mapping = has_key and "mapping values" in reason and re.search(r":(\s|$)", value)
    advice = {
        f"put text that begins with {first} in quotes, such as {quoted}": first
        and first in "@`%*&!"
        and value[:2] != "!!",
        "put the whole text in quotes, and write a quote of that kind inside it twice": first in ("'", '"'),
        f"put text that begins with {first} in quotes, or close the list or mapping": first in ("[", "{")
        and "expected" in reason,
        f"after {first} the text begins in the next line": first in ("|", ">"),
        "begin a list in the line below its key": value.startswith("- "),
        f"put text with a colon in quotes, such as {quoted}": is_mapping,
    }
    return next((text for text, applies in advice.items() if applies), None)


def _explain_structure(before: str, reason: str) -> str | None:
    """What to write instead when a line does not belong where it is; ``before`` is the line above it."""
    if re.match(r"\s*(- )?[\w.-]+:[^\s/]", before):
        return "write a space after the colon of the line above"
    if "mapping values" in reason or "expected key" in reason:
        return "this line is indented in another way than the lines it belongs to"
    return None


def _quote_value(line: str) -> str | None:
    """The entry of a line with its value in quotes; None when the line has more than one."""
    found = _ENTRY.match(line)
    key, value = (found["start"].lstrip("- "), found["value"]) if found else ("", "")
    is_nested = value.startswith(("{", "[")) and not value.startswith(("{{", "{%", "{#"))
    if not value or is_nested or key.startswith(("{", "[")) or len(value) > 200:
        return None
    value = value.replace("'", "''")
    return f"{key}'{value}'"


def _subject(name: str) -> str:
    return name or "it"


def _name(key: Any) -> str:
    return str(key.value) if isinstance(key, yaml.ScalarNode) else ""


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
