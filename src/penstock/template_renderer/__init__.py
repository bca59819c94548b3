"""Sandboxed Jinja2 for prompts, strict about missing names.

A template sees the state at top level and the seed's own variables under ``metadata``. It cannot reach
Python, files or other templates, and what it may make and how long it may take are bounded, since a state's
``system`` and ``user`` are templates too and nobody has read them.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from penstock.errors import TemplateError

if TYPE_CHECKING:
    from penstock.template_renderer.sandbox import Program

_MARKUP = ("{{", "{%", "{#")
_MAX_SOURCE = 1_000_000
"""Characters of a template with markup; text without any may be as long as it likes."""
_MAX_TAGS = 5_000
_MAX_KEPT = 64_000
"""Characters of a template that is worth keeping ready."""


seed_variables: ContextVar[Mapping[str, Any] | None] = ContextVar("penstock_seed_variables", default=None)
"""What ``metadata`` stands for while a record is made: its seed's variables, whatever blocks made of them.

Where nobody has set it, and the state has no ``metadata`` of its own, it is the state.
"""


class CompiledTemplate:
    """A template made ready once, to be rendered for each record."""

    __slots__ = ("__dict__", "_program", "source")

    def __init__(self, source: str, program: Program | None) -> None:
        self.source = source
        self._program = program

    def render(self, context: Mapping[str, Any]) -> str:
        """The text that the template becomes; raises TemplateError with the reason."""
        if self._program is None:
            return self.source
        return self._program.render(context)

    @cached_property
    def variables(self) -> frozenset[str]:
        """The names that it reads from the state, ``metadata`` aside."""
        return self._program.names()[0] if self._program else frozenset()

    @cached_property
    def metadata_variables(self) -> frozenset[str]:
        """The names that it reads as ``metadata.name``."""
        return self._program.names()[1] if self._program else frozenset()

    @cached_property
    def optional_variables(self) -> frozenset[str]:
        """Those of ``variables`` that may be missing: given a ``default`` or asked for by ``is defined``."""
        return self._program.names()[2] if self._program else frozenset()


class TemplateRenderer:
    """Renders templates; compiled ones are kept, so a step pays for each of its templates once."""

    def render(self, template: str, context: Mapping[str, Any]) -> str:
        """The text that ``template`` becomes over ``context``; raises TemplateError with the reason."""
        if "{" not in template or not any(mark in template for mark in _MARKUP):
            return template
        return self.compile(template).render(context)

    def compile(self, template: str) -> CompiledTemplate:
        """The template made ready; raises TemplateError where its syntax is wrong."""
        return _compile(template) if len(template) <= _MAX_KEPT else _compile.__wrapped__(template)


@lru_cache(maxsize=256)
def _compile(source: str) -> CompiledTemplate:
    if not any(mark in source for mark in _MARKUP):
        return CompiledTemplate(source, None)
    if len(source) > _MAX_SOURCE or source.count("{{") + source.count("{%") > _MAX_TAGS:
        raise TemplateError(
            f"template too large: at most {_MAX_SOURCE} characters and {_MAX_TAGS} tags",
            detail={"characters": len(source)},
        )
    from penstock.template_renderer.sandbox import compile_program

    return CompiledTemplate(source, compile_program(source))


__all__ = ["CompiledTemplate", "TemplateRenderer"]
