"""Ready-made pipelines: YAML files with example seeds, penstock's own and the user's."""

from __future__ import annotations

from penstock.templates.registry import MAX_ALIASES, MAX_BYTES, TemplateRegistry

__all__ = ["MAX_ALIASES", "MAX_BYTES", "TemplateRegistry"]
