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


def find_names(tree: nodes.Template) -> TemplateNames:
    """The names that a parsed template reads."""
    read = meta.find_undeclared_variables(tree)
    through_metadata = frozenset(_find_metadata_names(tree)) if "metadata" in read else frozenset()
    optional = frozenset(_find_optional_names(tree)) & read
    return TemplateNames(frozenset(read - {"metadata"}), through_metadata, optional)


def _find_metadata_names(tree: nodes.Template) -> Iterator[str]:
    """The names in ``metadata.name`` and ``metadata["name"]``."""
    for attribute in tree.find_all(nodes.Getattr):
        if _is_metadata(attribute.node):
            yield attribute.attr
    for item in tree.find_all(nodes.Getitem):
        if _is_metadata(item.node) and isinstance(item.arg, nodes.Const) and isinstance(item.arg.value, str):
            yield item.arg.value


def _find_optional_names(tree: nodes.Template) -> Iterator[str]:
    for kind in (nodes.Filter, nodes.Test):
        for node in tree.find_all(kind):
            if isinstance(node.node, nodes.Name) and node.name in _OPTIONAL:
                yield node.node.name


def _is_metadata(node: nodes.Node) -> bool:
    return isinstance(node, nodes.Name) and node.name == "metadata"
