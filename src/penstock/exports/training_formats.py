"""Training formats: what an example looks like, and which fields of a record it is made of.

``openai`` is the chat format of OpenAI's fine-tuning, ``sharegpt`` the conversations of ShareGPT, and
``alpaca`` the instructions of Stanford Alpaca.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class TrainingFormat:
    """A format of training examples, whose fields are texts."""

    sources: Mapping[str, tuple[str, ...]]
    """For each field, the paths it is taken from unless a mapping says otherwise; the first one found."""
    optional: frozenset[str]
    """Fields that an example may lack."""
    shape: Callable[[dict[str, str]], dict[str, Any]]
    """Makes the example from its fields."""


def _to_openai(fields: dict[str, str]) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": text} for role, text in fields.items() if text]}


_SHAREGPT_SPEAKERS = {"system": "system", "user": "human", "assistant": "gpt"}


def _to_sharegpt(fields: dict[str, str]) -> dict[str, Any]:
    turns = [{"from": _SHAREGPT_SPEAKERS[role], "value": text} for role, text in fields.items() if text]
    return {"conversations": turns}


_CHAT: dict[str, tuple[str, ...]] = {
    "system": ("system",),
    "user": ("user", "user_prompt"),
    "assistant": ("assistant",),
}
_INSTRUCTION: dict[str, tuple[str, ...]] = {
    "instruction": ("instruction", "user", "user_prompt"),
    "input": ("input",),
    "output": ("assistant",),
}

TRAINING_FORMATS: dict[str, TrainingFormat] = {
    "openai": TrainingFormat(_CHAT, frozenset({"system"}), _to_openai),
    "sharegpt": TrainingFormat(_CHAT, frozenset({"system"}), _to_sharegpt),
    "alpaca": TrainingFormat(_INSTRUCTION, frozenset({"input"}), dict),
}
"""The formats whose rows are training examples; the others hold the record itself or a mapping's fields."""
