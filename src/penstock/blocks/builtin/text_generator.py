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
        "temperature": "Sampling temperature: 0 for the likeliest words, higher for more variety.",
        "max_tokens": "The longest answer, in tokens.",
        "system_prompt": "Template of the system message; empty to use the field 'system', if there is one.",
        "user_prompt": "Template of the user message; empty to use the field 'user'.",
    }

    def __init__(
        self,
        model: str | None = None,
        temperature: float = 0.7,
        max_tokens: int = 2048,
        system_prompt: str = "",
        user_prompt: str = "",
    ) -> None:
        self.model = model or None
        self.temperature = float(temperature)
        self.max_tokens = int(max_tokens)
        self.system_prompt = system_prompt
        self.user_prompt = user_prompt

    async def execute(self, data: dict[str, Any]) -> dict[str, Any]:
        """The answer as ``assistant``, and the rendered prompts as ``system`` and ``user``."""
        return await self._ask(data, self.temperature, None)

    async def regenerate(self, data: dict[str, Any], attempt: Attempt) -> dict[str, Any]:
        """Ask again, showing the model its last answer and what was wrong with it."""
        return await self._ask(data, attempt.temperature, attempt)

    async def _ask(self, data: dict[str, Any], temperature: float, attempt: Attempt | None) -> dict[str, Any]:
        system = render_prompt(self.system_prompt, "system", data)
        user = render_prompt(self.user_prompt, "user", data)
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
            messages, model=self.model, temperature=temperature, max_tokens=self.max_tokens
        )
        return {"assistant": answer.text, "system": system, "user": user}
