"""Compiling and rendering templates; compiled templates are cached."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from penstock.entities import State
from penstock.errors import TemplateError
from penstock.stoppable import wait_in_thread

if TYPE_CHECKING:
    from penstock.template_renderer.analysis import TemplateNames
    from penstock.template_renderer.sandbox import Program

_MARKUP = ("{{", "{%", "{#")
_TAG_START = re.compile(r"\{[{%#]")
_MAX_SOURCE = 1_000_000
"""Characters of a template with markup; text without any may have any length."""
_MAX_TAGS = 5_000
_LONGEST_PROGRAM = 200_000
_SHORT_PROGRAM = 2_000
"""Characters inside of tags that are compiled in some 20 ms."""
_TAG = 20
"""Characters of a tag that take as long to compile as the tag itself."""
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
        default it is the seed of a ``State``, and of any other mapping the mapping itself. A rendering that
        is a lot of work waits for a child process; see ``TemplateRenderer.render_in_loop``.
        """
        text = self.render_at_once(context, metadata)
        if text is not None:
            return text
        from penstock.template_renderer.in_child import render_in_child

        return render_in_child(self.source, context, _get_metadata(context, metadata))

    def render_at_once(
        self, context: Mapping[str, Any], metadata: Mapping[str, Any] | None = None
    ) -> str | None:
        """What ``render`` returns, or None when it is more than some 20 ms of work."""
        if self._program is None:
            return self.source
        return self._program.render(context, _get_metadata(context, metadata))

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

    async def render_in_loop(
        self, template: str, context: Mapping[str, Any], metadata: Mapping[str, Any] | None = None
    ) -> str:
        """What ``render`` returns, without holding the event loop for more than some 20 ms.

        A rendering that needs more is stopped and made again in a child process.
        """
        if "{" not in template or not any(mark in template for mark in _MARKUP):
            return template
        if _is_short_program(template):
            text = self.compile(template).render_at_once(context, metadata)
            if text is not None:
                return text
        from penstock.template_renderer.in_child import render_in_child

        _check_size(template)
        return await wait_in_thread(render_in_child, template, context, _get_metadata(context, metadata))

    def compile(self, template: str) -> CompiledTemplate:
        """The compiled template; raises TemplateError where its syntax is wrong."""
        return _compile(template) if len(template) <= _MAX_CACHED else _compile.__wrapped__(template)


def _is_short_program(source: str) -> bool:
    """Whether a template is compiled in some 20 ms."""
    if len(source) <= _SHORT_PROGRAM:
        return True
    return len(source) <= _MAX_CACHED and _count_program(source) <= _SHORT_PROGRAM


@lru_cache(maxsize=256)
def _count_program(source: str) -> int:
    """About the characters inside of a template's tags, with some for each tag; rather too many."""
    starts = [match.start() for match in _TAG_START.finditer(source)]
    ends = [max(source.rfind("}", start, end), start) for start, end in pairwise([*starts, len(source)])]
    return sum(ends) - sum(starts) + _TAG * len(starts)


def _get_metadata(context: Mapping[str, Any], metadata: Mapping[str, Any] | None) -> Mapping[str, Any]:
    if metadata is None:
        return context.seed if isinstance(context, State) else context
    return metadata


@lru_cache(maxsize=256)
def _compile(source: str) -> CompiledTemplate:
    if not any(mark in source for mark in _MARKUP):
        return CompiledTemplate(source, None)
    _check_size(source)
    from penstock.template_renderer.sandbox import compile_program  # Jinja2 takes long to import

    return CompiledTemplate(source, compile_program(source))


def _check_size(source: str) -> None:
    if (
        len(source) > _MAX_SOURCE
        or source.count("{{") + source.count("{%") > _MAX_TAGS
        or _count_program.__wrapped__(source) > _LONGEST_PROGRAM
    ):
        raise TemplateError(
            f"template too large: at most {_MAX_SOURCE} characters, {_MAX_TAGS} tags and {_LONGEST_PROGRAM} "
            f"characters in tags",
            detail={"characters": len(source)},
        )
