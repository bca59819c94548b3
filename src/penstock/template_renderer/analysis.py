"""The names that a template reads, found without rendering it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from jinja2 import meta, nodes

_OPTIONAL = {"default", "d", "defined", "undefined"}
"""Filters and tests that allow a name to be missing."""


@dataclass(frozen=True, slots=True)
class TemplateNames:
    """What a template reads."""

    variables: frozenset[str]
    """Names read from the state, ``metadata`` aside."""
    metadata_variables: frozenset[str]
    """Names read through ``metadata``."""
    optional_variables: frozenset[str]
    """Names that may be missing."""
    conditional_variables: frozenset[str]
    """Names that are read only under a condition, or once for each item of a list."""


def find_names(tree: nodes.Template) -> TemplateNames:
    """The names that a parsed template reads."""
    read = meta.find_undeclared_variables(tree)
    through_metadata = frozenset(_find_metadata_names(tree)) if "metadata" in read else frozenset()
    optional = frozenset(_find_optional_names(tree)) & read
    certain = {node.name for node in _find_certain(tree) if isinstance(node, nodes.Name)}
    return TemplateNames(
        frozenset(read - {"metadata"}), through_metadata, optional, frozenset(read - certain)
    )


def _find_metadata_names(tree: nodes.Template) -> Iterator[str]:
    """The names in ``metadata.name`` and ``metadata["name"]`` that must be there."""
    called = {id(call.node) for call in tree.find_all(nodes.Call)}
    for node in _find_certain(tree):
        if id(node) in called:
            continue  # a method, such as ``metadata.items()``
        if isinstance(node, nodes.Getattr) and _is_metadata(node.node):
            yield node.attr
        elif isinstance(node, nodes.Getitem) and _is_metadata(node.node):
            key = node.arg.value if isinstance(node.arg, nodes.Const) else None
            if isinstance(key, str):
                yield key


def _find_certain(node: nodes.Node) -> Iterator[nodes.Node]:
    """The nodes inside ``node`` that are evaluated whenever it is, and whose names may not be missing."""
    for child in _certain_children(node):
        yield child
        yield from _find_certain(child)


def _certain_children(node: nodes.Node) -> Iterator[nodes.Node]:
    if isinstance(node, (nodes.If, nodes.CondExpr)):
        yield node.test
    elif isinstance(node, nodes.For):
        yield node.iter
    elif isinstance(node, (nodes.And, nodes.Or)):
        yield node.left
    elif isinstance(node, (nodes.Filter, nodes.Test)) and node.name in _OPTIONAL:
        yield from node.args
        if isinstance(node.node, (nodes.Getattr, nodes.Getitem)):
            yield from _certain_children(node.node)
    elif not isinstance(node, (nodes.Macro, nodes.CallBlock)):
        yield from node.iter_child_nodes()


def _find_optional_names(tree: nodes.Template) -> Iterator[str]:
    for kind in (nodes.Filter, nodes.Test):
        for node in tree.find_all(kind):
            if isinstance(node.node, nodes.Name) and node.name in _OPTIONAL:
                yield node.node.name


def _is_metadata(node: nodes.Node) -> bool:
    return isinstance(node, nodes.Name) and node.name == "metadata"
