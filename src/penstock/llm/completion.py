"""What a model call returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from penstock.entities import Usage

_CUT_REASONS = frozenset({
    "length", "max_tokens", "model_length", "max_length", "max_output_tokens", "max_new_tokens",
    "error_limit", "model_context_window_exceeded", "context_length_exceeded", "incomplete",
})  # fmt: skip
_REFUSED_REASONS = frozenset({
    "content_filter", "content_filtered", "content-filter", "refusal", "safety", "recitation", "blocklist",
    "prohibited_content", "spii", "image_safety", "guardrail_intervened", "error_toxic", "sensitive",
    "moderation", "language", "blocked",
})  # fmt: skip
_BROKEN_REASONS = frozenset({
    "error", "insufficient_system_resource", "abort", "aborted", "cancelled", "timeout", "network_error",
    "malformed_function_call", "other", "repetition",
})  # fmt: skip
"""Finish reasons of OpenAI, Anthropic, Gemini, Mistral, Bedrock, Cohere, DeepSeek, Zhipu, vLLM and SGLang."""
_LONGEST_REFUSAL = 300


@dataclass(frozen=True, slots=True)
class Completion:
    """A model's answer.

    ``text`` is what the model answered, and ``thoughts`` what a reasoning model thought before it. ``data``
    is the JSON value parsed from ``text`` when a schema was given, else None; also None when the text could
    not be read as JSON. ``usage`` counts tokens, US dollars and seconds since the epoch. ``finish_reason`` is
    the provider's: ``stop``, ``length``, ``content_filter``, …
    """

    text: str
    usage: Usage
    model: str
    finish_reason: str = "stop"
    data: Any = None
    thoughts: str = ""
    has_data: bool = False
    """Whether ``data`` was found; it may be null."""

    @property
    def problem(self) -> str | None:
        """Why this is no whole answer: empty, cut off or refused; None when it is one."""
        reason = self.finish_reason.lower()
        if reason in _REFUSED_REASONS:
            said = " ".join(self.text.split())[:_LONGEST_REFUSAL]
            return f"the answer was refused (finish_reason {self.finish_reason})" + (
                f": {said}" if said else ""
            )
        if self.has_data:
            return None
        if reason in _BROKEN_REASONS:
            return f"the answer was not finished (finish_reason {self.finish_reason})"
        if reason in _CUT_REASONS:
            return self._describe_cut()
        thoughts = "; the model wrote thoughts only" if self.thoughts else ""
        return None if self.text.strip() else f"the answer is empty{thoughts}"

    def _describe_cut(self) -> str:
        is_empty = not self.text.strip()
        if is_empty and self.thoughts:
            return "the thoughts used up max_tokens before the answer began; raise max_tokens"
        what = "no answer was written" if is_empty else "the answer was cut off"
        return f"{what} because max_tokens or the context was used up (finish_reason {self.finish_reason})"


def was_cut(finish_reason: str) -> bool:
    """Whether a finish reason says that the end of the answer is missing."""
    return finish_reason.lower() in _CUT_REASONS
