"""LLM generation that can be trusted: pipelines of blocks, held to gates, healed and traced."""

from __future__ import annotations

__version__ = "0.1.0"
