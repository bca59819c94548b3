"""Ask a model for JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from penstock import llm
from penstock.blocks.base import BaseBlock
from penstock.blocks.prompts import Message, ask_to_fix, refuse_empty, render_prompt
from penstock.entities import Attempt, Finding
from penstock.errors import DefinitionError
from penstock.serialization import to_text

_PART = "generated"


class StructuredGenerator(BaseBlock):
    """A model's answer as JSON that follows a schema.

    An answer that is not JSON is returned as ``{"raw_response": text}``, so that the text is not lost.
    ``examples`` are turns before the question, each ``{"user": template, "assistant": answer}``.
    """

    name = "Structured generator"
    description = "Asks a model for JSON that follows a schema."
    inputs: ClassVar[list[str]] = []
    outputs: ClassVar[list[str]] = [_PART]
    templates: ClassVar[list[str]] = ["system_prompt", "user_prompt"]
    state_templates: ClassVar[dict[str, str]] = {"user_prompt": "user_prompt"}
    config_descriptions: ClassVar[dict[str, str]] = {
        "json_schema": "JSON Schema that the answer must follow.",
        "model": "Model to ask, such as openai/gpt-4o-mini; empty for the configured default.",
        "temperature": "Sampling temperature: 0 for the likeliest words, higher for more variety; "
        "null to send none.",
        "max_tokens": "The longest answer, in tokens; one cut off there is not used. Null to send none.",
        "user_prompt": "Template of the user message; empty to use the field 'user_prompt'.",
        "system_prompt": "Template of the system message; empty to send none.",
        "examples": "Turns shown before the question: a list of {user, assistant}.",
        "allow_incomplete": "Whether an answer that is empty, cut off or refused is kept as text.",
        "feedback": "Whether the model is shown its last answer and what was wrong with it when asked again.",
    }

    def __init__(  # noqa: PLR0913  the form of the block's settings
        self,
        json_schema: dict[str, Any],
        model: str | None = None,
        temperature: float | None = 0.7,
        max_tokens: int | None = 2048,
        user_prompt: str = "",
        system_prompt: str = "",
        examples: list[dict[str, Any]] | None = None,
        feedback: bool = True,
        allow_incomplete: bool = False,
    ) -> None:
        self.json_schema = json_schema
        self.model = model or None
        self.temperature = None if temperature is None else float(temperature)
        self.max_tokens = None if max_tokens is None else int(max_tokens)
        self.allow_incomplete = bool(allow_incomplete)
        self.user_prompt = user_prompt
        self.system_prompt = system_prompt
        self.examples = [_read_example(number, turn) for number, turn in enumerate(examples or [], start=1)]
        self.feedback = feedback

    @classmethod
    def expects_schema(cls, config: Mapping[str, Any]) -> dict[str, Any] | None:
        """The schema that ``generated`` must follow."""
        schema = config.get("json_schema")
        return schema if isinstance(schema, dict) else None

    async def execute(self, data: dict[str, Any]) -> dict[str, Any]:
        """The answer as ``generated``."""
        return await self._ask(await self._messages(data), self.temperature)

    async def regenerate(self, data: dict[str, Any], attempt: Attempt) -> dict[str, Any]:
        """Ask again; with ``feedback``, showing the model its last answer and what was wrong with it."""
        messages = await self._messages(data)
        if self.feedback:
            messages = ask_to_fix(messages, _last_answer(attempt), map(_name_part, attempt.findings))
        return await self._ask(messages, None if self.temperature is None else attempt.temperature)

    async def _messages(self, data: dict[str, Any]) -> list[Message]:
        user = await render_prompt(self.user_prompt, "user_prompt", data)
        refuse_empty(user, field="user_prompt")
        messages: list[Message] = []
        if system := await render_prompt(self.system_prompt, None, data):
            messages.append({"role": "system", "content": system})
        for question, answer in self.examples:
            messages.append({"role": "user", "content": await render_prompt(question, None, data)})
            messages.append({"role": "assistant", "content": answer})
        messages.append({"role": "user", "content": user})
        return messages

    async def _ask(self, messages: list[Message], temperature: float | None) -> dict[str, Any]:
        answer = await llm.complete(
            messages,
            model=self.model,
            temperature=temperature,
            max_tokens=self.max_tokens,
            schema=self.json_schema,
            allow_incomplete=self.allow_incomplete,
        )
        value = answer.data
        if isinstance(value, dict) or ((answer.has_data or value is not None) and self._allows(value)):
            return {_PART: value}
        return {_PART: {"raw_response": answer.text}}

    def _allows(self, value: Any) -> bool:
        """Whether ``value``, which is not an object, follows the schema, or may be healed to follow it."""
        kinds = self.json_schema.get("type", ())
        is_list = isinstance(value, list) and "array" in ([kinds] if isinstance(kinds, str) else kinds)
        return is_list or llm.accepts(self.json_schema, value)


def _read_example(number: int, turn: Mapping[str, Any]) -> tuple[str, str]:
    if set(turn) != {"user", "assistant"} or not isinstance(turn["user"], str):
        raise DefinitionError(
            f"Block 'StructuredGenerator': example {number} must have just 'user' (a template) and "
            f"'assistant' (the answer)",
            detail={"key": "examples", "example": number},
        )
    return turn["user"], to_text(turn["assistant"])


def _last_answer(attempt: Attempt) -> str:
    """The previous answer as the model gave it or, when only parts are generated again, those parts."""
    whole = attempt.targets.get(_PART)
    if whole is not None:
        previous = whole.previous
        if isinstance(previous, dict) and set(previous) == {"raw_response"}:
            previous = previous["raw_response"]
        return to_text(previous)
    answer: dict[str, Any] = {}
    for part, target in attempt.targets.items():
        *path, last = part.removeprefix(f"{_PART}.").split(".")
        inner = answer
        for name in path:
            inner = inner.setdefault(name, {})
            if not isinstance(inner, dict):
                break
        else:
            inner[last] = target.previous
    known = any(target.previous is not None for target in attempt.targets.values())
    return to_text(_with_lists(answer)) if known else ""


def _with_lists(value: Any) -> Any:
    """``value`` with a list in place of each mapping whose keys are list indexes."""
    if not isinstance(value, dict):
        return value
    inner = {key: _with_lists(item) for key, item in value.items()}
    return list(inner.values()) if inner and all(str(key).isdecimal() for key in inner) else inner


def _name_part(finding: Finding) -> Finding:
    """The finding with the name of its field in the message."""
    path = finding.part.removeprefix(_PART).removeprefix(".")
    if not path or path in finding.message:
        return finding
    return Finding(finding.part, f"{path}: {finding.message}", finding.gate, finding.expected, finding.got)
