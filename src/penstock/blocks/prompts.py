"""The prompts of blocks that ask a model, and how they ask again with what gates found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from penstock.entities import Finding, State
from penstock.errors import BadInputError, TemplateError
from penstock.serialization import to_text
from penstock.template_renderer import TemplateRenderer

Message = dict[str, Any]

_MAX_FINDINGS = 20
_MAX_FINDING = 500
_MAX_PREVIOUS = 8_000
"""Characters of the previous answer that the model is shown."""

_renderer = TemplateRenderer()


async def render_prompt(template: str, field: str | None, data: Mapping[str, Any]) -> str:
    """``template`` rendered with the state; when it is empty, the text of the state's ``field`` instead.

    In the seed that field is a template, too. What a step has made is data, and is used as it is. A prompt
    that is only white space is returned as "".
    """
    if template.strip():
        text = await _renderer.render_in_loop(template, data)
    elif field is None:
        text = ""
    elif isinstance(data, State) and field in data.made:
        text = to_text(data.get(field))
    else:
        text = await _render_seed_field(field, data)
    return text if text.strip() else ""


async def _render_seed_field(field: str, data: Mapping[str, Any]) -> str:
    try:
        return await _renderer.render_in_loop(to_text(data.get(field)), data)
    except TemplateError as error:
        raise TemplateError(
            f"{error.message}; the seed's field '{field}' is a template: correct it, or write "
            f"'{{{{ {field} }}}}' as the prompt in the pipeline to send it as it is",
            detail=error.detail,
        ) from error


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
