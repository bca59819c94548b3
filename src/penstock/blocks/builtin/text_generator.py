"""Ask a model for text."""

from __future__ import annotations

from typing import Any, ClassVar

from penstock import llm
from penstock.blocks.base import BaseBlock
from penstock.blocks.prompts import Message, ask_to_fix, refuse_empty, render_prompt
from penstock.entities import Attempt
from penstock.serialization import to_text


class TextGenerator(BaseBlock):
    """A model's answer to a prompt, and the prompts as they were sent."""

    name = "Text generator"
    description = "Asks a model for text. Prompts are Jinja2 templates over the state."
    inputs: ClassVar[list[str]] = []
    outputs: ClassVar[list[str]] = ["assistant", "system", "user"]
    templates: ClassVar[list[str]] = ["system_prompt", "user_prompt"]
    state_templates: ClassVar[dict[str, str]] = {"system_prompt": "system", "user_prompt": "user"}
    config_descriptions: ClassVar[dict[str, str]] = {
        "model": "Model to ask, such as openai/gpt-4o-mini; empty for the configured default.",
        "temperature": "Sampling temperature: 0 for the likeliest words, higher for more variety; "
        "null to send none.",
        "max_tokens": "The longest answer, in tokens; null to send none.",
        "system_prompt": "Template of the system message; empty to use the field 'system', if there is one.",
        "user_prompt": "Template of the user message; empty to use the field 'user'.",
        "keep_thoughts": "Whether what a reasoning model thinks first is kept, as the field 'thoughts'.",
        "allow_incomplete": "Whether an answer that is empty, cut off or refused is kept.",
    }

    def __init__(
        self,
        model: str | None = None,
        temperature: float | None = 0.7,
        max_tokens: int | None = 2048,
        system_prompt: str = "",
        user_prompt: str = "",
        keep_thoughts: bool = False,
        allow_incomplete: bool = False,
    ) -> None:
        self.model = model or None
        self.temperature = None if temperature is None else float(temperature)
        self.max_tokens = None if max_tokens is None else int(max_tokens)
        self.allow_incomplete = bool(allow_incomplete)
        self.system_prompt = system_prompt
        self.user_prompt = user_prompt
        self.keep_thoughts = bool(keep_thoughts)
        if self.keep_thoughts:
            self.outputs = [*type(self).outputs, "thoughts"]  # type: ignore[misc]  # of this instance alone

    async def execute(self, data: dict[str, Any]) -> dict[str, Any]:
        """The answer as ``assistant``, and the rendered prompts as ``system`` and ``user``."""
        return await self._ask(data, self.temperature, None)

    async def regenerate(self, data: dict[str, Any], attempt: Attempt) -> dict[str, Any]:
        """Ask again, showing the model its last answer and what was wrong with it."""
        return await self._ask(data, self._heat(attempt), attempt)

    def _heat(self, attempt: Attempt) -> float | None:
        """The temperature of an attempt; none is sent where the setting is null."""
        return None if self.temperature is None else attempt.temperature

    async def _ask(
        self, data: dict[str, Any], temperature: float | None, attempt: Attempt | None
    ) -> dict[str, Any]:
        system = await render_prompt(self.system_prompt, "system", data)
        user = await render_prompt(self.user_prompt, "user", data)
        refuse_empty(system, user, field="user")
        messages: list[Message] = []
        if system:
            messages.append({"role": "system", "content": system})
        if user:
            messages.append({"role": "user", "content": user})
        if attempt is not None:
            target = attempt.targets.get("assistant")
            messages = ask_to_fix(messages, to_text(target.previous) if target else "", attempt.findings)
        answer = await llm.complete(
            messages,
            model=self.model,
            temperature=temperature,
            max_tokens=self.max_tokens,
            allow_incomplete=self.allow_incomplete,
        )
        made = {"assistant": answer.text, "system": system, "user": user}
        return {**made, "thoughts": answer.thoughts} if self.keep_thoughts else made
