"""How large a schema is when its references are followed, and how long a validation by it may take.

A validation applies each subschema to values of the answer, in a non-recursive schema at most once for each
way that leads to the subschema and each value. So its time is bounded by the number of these ways (the schema
*unfolded*) times the size of the value. It is not for recursive schemas, nor for patterns that backtrack.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from penstock.json_schema.errors import SchemaError

MOST_WRITTEN = 5_000
"""Subschemas of a schema; it takes some 10 µs to compile one."""
MOST_UNFOLDED = 100_000
"""Subschemas, when each reference is replaced by what it refers to."""
_PATTERN_COST = 10
"""A pattern takes as long to compile as so many subschemas without one."""
_DRAFTS = frozenset({"draft-04/schema", "draft-06/schema", "draft-07/schema", "schema"}) | {
    "draft/2019-09/schema",
    "draft/2020-12/schema",
}
_ONE = (
    "additionalProperties",
    "unevaluatedProperties",
    "additionalItems",
    "unevaluatedItems",
    "items",
    "contains",
    "propertyNames",
    "not",
    "if",
    "then",
    "else",
)
"""Keywords with a subschema that is applied."""
_LISTS = ("allOf", "anyOf", "oneOf", "prefixItems", "items")
_MAPPINGS = ("properties", "patternProperties", "dependentSchemas", "dependencies")
_BACKTRACKS = re.compile(r"\(\?(?!:)|\\[1-9kKGz]|[+*?}]\+")
"""What a pattern has that may take more than linear time."""
_REPETITION = re.compile(r"\{(\d*),?(\d*)\}")
_MAX_PATTERN = 200
_MAX_REPETITIONS = 1_000
"""All repetitions of a pattern, multiplied: about the size of its automaton."""


@dataclass(frozen=True, slots=True)
class Structure:
    """What is known about a schema's validations before one is made."""

    unfolded: int
    """Subschemas, when each reference is replaced by what it refers to."""
    is_recursive: bool
    """Whether a subschema applies itself, so that it depends on the value how often it is applied."""
    is_unclear: bool
    """Whether it has patterns that may backtrack, or references whose target depends on the value."""
    reads_text: bool
    """Whether texts are read character by character, by patterns or formats."""
    compares_items: bool
    """Whether the items of lists are compared with each other."""


def check_dialect(schema: Any) -> None:
    """Refuse a ``$schema`` that names no published draft; nothing is fetched to find out."""
    name = schema.get("$schema") if isinstance(schema, Mapping) else None
    if name is None:
        return
    _, separator, draft = str(name).partition("://json-schema.org/")
    if not isinstance(name, str) or not separator or draft.removesuffix("#") not in _DRAFTS:
        raise SchemaError(
            f"names an unknown '$schema', '{str(name)[:100]}'; leave '$schema' out, or write "
            f"'https://json-schema.org/draft/2020-12/schema'"
        )


def measure(schema: Any) -> Structure:
    """The structure of ``schema``; raises SchemaError when it is too large, or of an unknown draft."""
    graph = _Graph(schema)
    unfolded, is_recursive = _unfold(graph.edges, graph.costs)
    if unfolded > MOST_UNFOLDED:
        raise SchemaError(
            f"unfolds to more than {MOST_UNFOLDED:,} subschemas when its references are followed; "
            f"refer to the same definition fewer times"
        )
    return Structure(unfolded, is_recursive, graph.is_unclear, graph.reads_text, graph.compares_items)


class _Graph:
    """The subschemas that are reached from the root, by number, and which of them each one applies."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._numbers: dict[int, int] = {}
        self._waiting: list[Mapping[str, Any]] = []
        self._names: dict[str, Any] | None = None
        self.edges: list[list[int]] = []
        self.costs: list[int] = []
        self.reads_text = self.compares_items = self.is_unclear = False
        self._number(root)
        weight = 0
        while self._waiting:
            node = self._waiting.pop()
            check_dialect(node)
            number = self._numbers[id(node)]
            self.costs[number] = self._own_cost(node)
            weight += 1 + _PATTERN_COST * (("pattern" in node) + len(node.get("patternProperties") or ()))
            if weight > MOST_WRITTEN:
                raise SchemaError(f"has more than {MOST_WRITTEN:,} subschemas; write a smaller one")
            times = 2 if "unevaluatedProperties" in node or "unevaluatedItems" in node else 1
            self.edges[number] = [self._number(part) for part in self._applied(node)] * times

    def _number(self, node: Any) -> int:
        """The number of a subschema; anything but a mapping is one that costs nothing to apply."""
        number = self._numbers.get(id(node))
        if number is None:
            number = self._numbers[id(node)] = len(self.edges)
            self.edges.append([])
            self.costs.append(1)
            if isinstance(node, Mapping):
                self._waiting.append(node)
        return number

    def _own_cost(self, node: Mapping[str, Any]) -> int:
        """Units of time that a subschema takes for one value, without those that it applies."""
        for pattern in (node.get("pattern"), *(_mapping(node.get("patternProperties")))):
            if isinstance(pattern, str):
                self.reads_text = True
                self.is_unclear |= not _is_linear(pattern)
        if "format" in node or "contentMediaType" in node or "contentEncoding" in node:
            self.reads_text = True
        if node.get("uniqueItems"):
            self.compares_items = True
        cost = 1
        for keyword in ("enum", "required"):
            cost += len(node[keyword]) if isinstance(node.get(keyword), list | tuple) else 0
        for names in _mapping(node.get("dependentRequired")).values():
            cost += len(names) if isinstance(names, list | tuple) else 0
        return cost

    def _applied(self, node: Mapping[str, Any]) -> Iterator[Any]:
        for keyword in _ONE:
            if isinstance(node.get(keyword), Mapping):
                yield node[keyword]
        for keyword in _LISTS:
            if isinstance(node.get(keyword), list | tuple):
                yield from node[keyword]
        for keyword in _MAPPINGS:
            yield from (part for part in _mapping(node.get(keyword)).values() if isinstance(part, Mapping))
        for keyword in ("$dynamicRef", "$recursiveRef", "$ref"):
            target = node.get(keyword)
            if not isinstance(target, str):
                continue
            self.is_unclear |= keyword != "$ref"
            found = self._resolve(target)
            if isinstance(found, Mapping):
                yield found
            elif not isinstance(found, bool):
                self.is_unclear = True

    def _resolve(self, target: str) -> Any:
        """What a reference refers to in this schema; None when that is not clear."""
        address, _, fragment = target.partition("#")
        if self._names is None:
            self._names = dict(_find_names(self._root))
        document = self._names.get(address) if address else self._root
        if not fragment:
            return document
        if fragment.startswith("/"):
            return find_by_pointer(document, fragment)
        return self._names.get(f"#{fragment}")


def _is_linear(pattern: str) -> bool:
    """Whether it is sure that a text is searched for ``pattern`` in little time for each character."""
    if len(pattern) > _MAX_PATTERN or _BACKTRACKS.search(pattern):
        return False
    numbers = (max(int(number or 1) for number in found) for found in _REPETITION.findall(pattern))
    return math.prod(max(number, 1) for number in numbers) <= _MAX_REPETITIONS


def find_by_pointer(document: Any, pointer: str) -> Any:
    """What a JSON pointer such as ``/$defs/name`` (RFC 6901) leads to; None when it leads nowhere."""
    node = document
    for part in unquote(pointer).removeprefix("/").split("/"):
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(node, Mapping) and name in node:
            node = node[name]
        elif isinstance(node, list | tuple) and name.isdecimal() and len(name) < 9 and int(name) < len(node):
            node = node[int(name)]
        else:
            return None
    return node


def _find_names(schema: Any) -> Iterator[tuple[str, Any]]:
    """The subschemas with a name of their own, by ``$id`` or as ``#anchor``."""
    waiting = [schema]
    while waiting:
        node = waiting.pop()
        if isinstance(node, Mapping):
            for keyword in ("$id", "id"):
                if isinstance(node.get(keyword), str):
                    yield node[keyword].removesuffix("#"), node
            for keyword in ("$anchor", "$dynamicAnchor"):
                if isinstance(node.get(keyword), str):
                    yield f"#{node[keyword]}", node
            waiting.extend(node.values())
        elif isinstance(node, list | tuple):
            waiting.extend(node)


def _mapping(value: Any) -> Mapping[Any, Any]:
    return value if isinstance(value, Mapping) else {}


def _unfold(edges: list[list[int]], costs: list[int]) -> tuple[int, bool]:
    """The cost of subschema 0 with all that it applies, and whether some subschema applies itself.

    Subschemas that apply each other are counted once, because it depends on the value how often they are.
    """
    totals: dict[int, float] = {}
    is_recursive = False
    for group in _find_cycles(edges):
        inside = set(group)
        total: float = 0
        for number in group:
            total += costs[number]
            for target in edges[number]:
                if target in inside:
                    is_recursive = True
                else:
                    total += totals[target]
        for number in group:
            totals[number] = min(total, 10.0 * MOST_UNFOLDED)
    return math.ceil(totals[0]), is_recursive


def _find_cycles(edges: list[list[int]]) -> Iterator[list[int]]:
    """The strongly connected components, each after those that it leads to (Tarjan 1972)."""
    index: dict[int, int] = {}
    low: dict[int, int] = {}
    path: list[int] = []
    on_path: set[int] = set()
    for start in range(len(edges)):
        if start in index:
            continue
        calls: list[tuple[int, Iterator[int]]] = [(start, iter(edges[start]))]
        while calls:
            number, targets = calls[-1]
            if number not in index:
                index[number] = low[number] = len(index)
                path.append(number)
                on_path.add(number)
            for target in targets:
                if target not in index:
                    calls.append((target, iter(edges[target])))
                    break
                if target in on_path:
                    low[number] = min(low[number], index[target])
            else:
                calls.pop()
                if calls:
                    low[calls[-1][0]] = min(low[calls[-1][0]], low[number])
                if low[number] == index[number]:
                    group = path[path.index(number) :] if path[-1] != number else [number]
                    del path[-len(group) :]
                    on_path.difference_update(group)
                    yield group
