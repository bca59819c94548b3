"""Compiling and rendering templates; compiled templates are cached."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from penstock.entities import State
from penstock.errors import TemplateError

if TYPE_CHECKING:
    from penstock.template_renderer.analysis import TemplateNames
    from penstock.template_renderer.sandbox import Program

_MARKUP = ("{{", "{%", "{#")
_MAX_SOURCE = 1_000_000
"""Characters of a template with markup; text without any may have any length."""
_MAX_TAGS = 5_000
_MAX_CACHED = 64_000
"""Characters of a template that is kept in the cache."""


class CompiledTemplate:
    """A template compiled once, to be rendered for each record."""

    __slots__ = ("__dict__", "_program", "source")

    def __init__(self, source: str, program: Program | None) -> None:
        self.source = source
        self._program = program

    def render(self, context: Mapping[str, Any], metadata: Mapping[str, Any] | None = None) -> str:
        """The text that the template becomes over ``context``; raises TemplateError with the reason.

        ``metadata`` is what the template sees under that name, unless ``context`` has a field called so. By
        default it is the seed of a ``State``, and of any other mapping the mapping itself.
        """
        if self._program is None:
            return self.source
        if metadata is None:
            metadata = context.seed if isinstance(context, State) else context
        return self._program.render(context, metadata)

    @property
    def variables(self) -> frozenset[str]:
        """The names that it reads from the state, ``metadata`` aside."""
        return self._names.variables if self._names else frozenset()

    @property
    def metadata_variables(self) -> frozenset[str]:
        """The names that it reads as ``metadata.name``."""
        return self._names.metadata_variables if self._names else frozenset()

    @property
    def optional_variables(self) -> frozenset[str]:
        """Those of ``variables`` that may be missing: given a ``default`` or tested by ``is defined``."""
        return self._names.optional_variables if self._names else frozenset()

    @property
    def conditional_variables(self) -> frozenset[str]:
        """Those of ``variables`` that it does not read in every case."""
        return self._names.conditional_variables if self._names else frozenset()

    @cached_property
    def _names(self) -> TemplateNames | None:
        return self._program.find_names() if self._program else None


class TemplateRenderer:
    """Renders templates; each is compiled once, however many records it serves."""

    def render(
        self, template: str, context: Mapping[str, Any], metadata: Mapping[str, Any] | None = None
    ) -> str:
        """The text that ``template`` becomes over ``context``; raises TemplateError with the reason.

        See ``CompiledTemplate.render`` for ``metadata``.
        """
        if "{" not in template or not any(mark in template for mark in _MARKUP):
            return template
        return self.compile(template).render(context, metadata)

    def compile(self, template: str) -> CompiledTemplate:
        """The compiled template; raises TemplateError where its syntax is wrong."""
        return _compile(template) if len(template) <= _MAX_CACHED else _compile.__wrapped__(template)


@lru_cache(maxsize=256)
def _compile(source: str) -> CompiledTemplate:
    if not any(mark in source for mark in _MARKUP):
        return CompiledTemplate(source, None)
    if len(source) > _MAX_SOURCE or source.count("{{") + source.count("{%") > _MAX_TAGS:
        raise TemplateError(
            f"template too large: at most {_MAX_SOURCE} characters and {_MAX_TAGS} tags",
            detail={"characters": len(source)},
        )
    from penstock.template_renderer.sandbox import compile_program  # Jinja2 takes long to import

    return CompiledTemplate(source, compile_program(source))
