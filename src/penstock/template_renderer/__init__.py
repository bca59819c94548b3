"""Sandboxed Jinja2 for prompts, strict about missing names.

A template sees the fields of the state by name, and the seed's own variables under ``metadata``. It cannot
reach Python, files or other templates. The size of what it makes and the work that it takes are limited,
since a state's ``system`` and ``user`` fields are templates too, and may come from data that nobody has read.
"""

from __future__ import annotations

from penstock.template_renderer.renderer import CompiledTemplate, TemplateRenderer

__all__ = ["CompiledTemplate", "TemplateRenderer"]
