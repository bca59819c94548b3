"""How blocks that ask a model put their question, and how they ask again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from penstock.blocks.text import to_text
from penstock.entities import Finding
from penstock.errors import BadInputError
from penstock.template_renderer import TemplateRenderer

Message = dict[str, Any]

_MAX_FINDINGS = 20
_MAX_FINDING = 500
_MAX_PREVIOUS = 8_000
"""Characters of the last answer that the model is shown again."""

_renderer = TemplateRenderer()


def render_prompt(template: str, field: str | None, data: Mapping[str, Any]) -> str:
    """The prompt: ``template`` over the state or, when it is empty, the template in the state's ``field``.

    A prompt of nothing but white space is no prompt, and comes back as "".
    """
    if not template.strip():
        template = to_text(data.get(field)) if field else ""
    text = _renderer.render(template, data)
    return text if text.strip() else ""


def refuse_empty(*prompts: str, field: str) -> None:
    """Raise BadInputError when there is nothing to ask."""
    if not any(prompts):
        raise BadInputError(
            f"no prompt: set user_prompt in the block's config, or give the seed a field '{field}'"
        )


def ask_to_mend(messages: list[Message], previous: str, findings: Iterable[Finding]) -> list[Message]:
    """``messages``, and after them the last answer and what was wrong with it; unchanged when nothing was."""
    faults = list(dict.fromkeys(finding.message[:_MAX_FINDING] for finding in findings))[:_MAX_FINDINGS]
    if not faults:
        return messages
    request = "Mend this: " + "\n".join(faults)
    if previous.strip():
        answer = {"role": "assistant", "content": previous[:_MAX_PREVIOUS]}
        return [*messages, answer, {"role": "user", "content": request}]
    last = messages[-1]
    if last["role"] != "user":
        return [*messages, {"role": "user", "content": request}]
    return [*messages[:-1], {**last, "content": f"{last['content']}\n\n{request}"}]
