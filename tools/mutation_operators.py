"""The small changes that mutation testing makes to a source file.

Most come from cosmic-ray. Two are added, because it has none that removes a statement or a return value.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.provider import OperatorProvider
from parso.python.tree import Keyword, Name

Node = Any
"""A node or leaf of parso's tree, which cosmic-ray works on."""
Position = tuple[int, int]
"""Line, from 1, and column, from 0."""
Span = tuple[Position, Position]

_LARGEST_NUMBER = 100
"""One more or less than a larger number (a buffer size, milliseconds) is rarely a change of behaviour."""

_CALLS = frozenset({"atom_expr", "power"})
"""Types of nodes for calls, attributes, items and ``await``."""

_WITHOUT_BEHAVIOUR = {
    "if_stmt": re.compile(r"if TYPE_CHECKING\b"),
    "decorator": re.compile(r"@(override|abstractmethod)\b"),
    "atom_expr": re.compile(r"_?log(ger)?\.(debug|info|warning)\("),
}
"""Code that tests need not notice, by the type of its node and by how it starts."""


class RemoveStatement:
    """Replace a call, an ``await`` or an assignment to an attribute or item by ``pass``."""

    def mutation_positions(self, node: Node) -> Iterator[Span]:
        """The position of the statement, if the node is one that can be removed."""
        if node.type == "simple_stmt" and _has_effect(node.children[0]):
            yield _span(node.children[0])

    def mutate(self, node: Node, index: int) -> Node:
        """Replace the statement."""
        removed = node.children[0]
        node.children[0] = Name("pass", removed.start_pos, prefix=removed.get_first_leaf().prefix)
        return node

    @classmethod
    def arguments(cls) -> Sequence[Any]:
        """No arguments."""
        return ()


class ReturnNone:
    """Replace the value of a ``return`` by ``None``."""

    def mutation_positions(self, node: Node) -> Iterator[Span]:
        """The position of the value, if the node is a ``return`` with a value other than ``None``."""
        if node.type == "return_stmt" and node.children[1].get_code().strip() != "None":
            yield _span(node.children[1])

    def mutate(self, node: Node, index: int) -> Node:
        """Replace the value."""
        node.children[1] = Keyword("None", node.children[1].start_pos, prefix=" ")
        return node

    @classmethod
    def arguments(cls) -> Sequence[Any]:
        """No arguments."""
        return ()


_PROVIDED = OperatorProvider()
_OPERATORS: dict[str, Any] = {
    **{name: _PROVIDED[name] for name in _PROVIDED if not _PROVIDED[name].arguments()},
    "RemoveStatement": RemoveStatement,
    "ReturnNone": ReturnNone,
}


@dataclass(frozen=True)
class Mutation:
    """One change of one file: the ``occurrence``-th place where the operator applies."""

    operator: str
    occurrence: int
    span: Span

    @property
    def line(self) -> int:
        """The line of the change, from 1."""
        return self.span[0][0]

    def apply(self, source: str) -> str:
        """The changed source."""
        mutated = mutate_code(source, _OPERATORS[self.operator](), self.occurrence)
        assert isinstance(mutated, str), f"{self} does not apply"
        return mutated


def list_mutations(source: str) -> list[Mutation]:
    """All mutations of a source text that may change its behaviour, in the order of their positions."""
    nodes = list(ast_nodes(get_ast(source)))
    ignored = [span for node in nodes for span in _spans_without_behaviour(node)]
    mutations = []
    for name, operator in _OPERATORS.items():
        changes = ((node, span) for node in nodes for span in operator().mutation_positions(node))
        for occurrence, (node, span) in enumerate(changes):
            if not _is_large_number(node) and not any(start <= span[0] < end for start, end in ignored):
                mutations.append(Mutation(name, occurrence, span))
    return sorted(mutations, key=lambda mutation: (mutation.span, mutation.operator, mutation.occurrence))


def gives_a_program(mutation: Mutation, source: str) -> bool:
    """Whether the changed text is a Python program; one that is not says nothing about the tests."""
    try:
        ast.parse(mutation.apply(source))
    except (SyntaxError, AttributeError):  # cosmic-ray cannot replace `except module.Error`
        return False
    return True


def _span(node: Node) -> Span:
    return node.start_pos, node.end_pos


def _has_effect(statement: Node) -> bool:
    if statement.type == "expr_stmt":
        target, assigned = statement.children[0], statement.children[1]
        return target.type in _CALLS and assigned.type != "annassign"
    return statement.type in _CALLS


def _is_large_number(node: Node) -> bool:
    return bool(node.type == "number" and abs(ast.literal_eval(node.value)) > _LARGEST_NUMBER)


def _spans_without_behaviour(node: Node) -> Iterator[Span]:
    """Annotations, which are not evaluated, and what ``_WITHOUT_BEHAVIOUR`` lists."""
    if node.type == "annassign":
        yield _span(node.children[1])
    elif node.type == "tfpdef":
        yield _span(node.children[2])
    elif node.type == "funcdef" and node.annotation is not None:
        yield _span(node.annotation)
    elif (start := _WITHOUT_BEHAVIOUR.get(node.type)) and start.match(node.get_code(include_prefix=False)):
        yield _span(node)
