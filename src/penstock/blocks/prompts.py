"""The prompts of blocks that ask a model, and how they ask again with what gates found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from penstock.entities import Finding
from penstock.errors import BadInputError
from penstock.serialization import to_text
from penstock.template_renderer import TemplateRenderer

Message = dict[str, Any]

_MAX_FINDINGS = 20
_MAX_FINDING = 500
_MAX_PREVIOUS = 8_000
"""Characters of the previous answer that the model is shown."""

_renderer = TemplateRenderer()


def render_prompt(template: str, field: str | None, data: Mapping[str, Any]) -> str:
    """``template`` rendered with the state; when it is empty, the template in the state's ``field`` instead.

    A prompt that is only white space is returned as "".
    """
    if not template.strip():
        template = to_text(data.get(field)) if field else ""
    text = _renderer.render(template, data)
    return text if text.strip() else ""


def refuse_empty(*prompts: str, field: str) -> None:
    """Raise BadInputError when all ``prompts`` are empty; ``field`` is where the seed could have one."""
    if not any(prompts):
        raise BadInputError(
            f"no prompt: set user_prompt in the block's config, or give the seed a field '{field}'"
        )


def ask_to_fix(messages: list[Message], previous: str, findings: Iterable[Finding]) -> list[Message]:
    """``messages``, followed by the previous answer and the findings on it; unchanged without findings."""
    problems = list(dict.fromkeys(finding.message[:_MAX_FINDING] for finding in findings))[:_MAX_FINDINGS]
    if not problems:
        return messages
    request = "Fix these problems:\n" + "\n".join(problems)
    if previous.strip():
        answer = {"role": "assistant", "content": previous[:_MAX_PREVIOUS]}
        return [*messages, answer, {"role": "user", "content": request}]
    last = messages[-1]
    if last["role"] != "user":
        return [*messages, {"role": "user", "content": request}]
    return [*messages[:-1], {**last, "content": f"{last['content']}\n\n{request}"}]
