"""What a run would ask, without asking: the prompts of a seed, and an estimate of calls, tokens and money."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from penstock import llm
from penstock.entities import Usage
from penstock.errors import PipelineError
from penstock.llm.prices import find_price
from penstock.llm.providers import resolve
from penstock.settings import Settings
from penstock.workflow import Pipeline, RunContext, StepEvent

CHARACTERS_PER_TOKEN = 4
"""Close enough for an estimate of English; providers publish the same rule of thumb."""
_UNBOUNDED_ANSWER = 512
"""Tokens that an answer without ``max_tokens`` is taken to have."""


@dataclass(slots=True)
class Prompt:
    """A call that a step would make."""

    step: int
    block_type: str
    messages: list[dict[str, Any]]
    model: str
    temperature: float | None
    max_tokens: int | None

    @property
    def input_tokens(self) -> int:
        """An estimate."""
        length = sum(len(str(message.get("content", ""))) for message in self.messages)
        return max(1, length // CHARACTERS_PER_TOKEN)


@dataclass(slots=True)
class DryRun:
    """The calls of one seed's record; ``stopped`` says why the rest could not be foreseen, if so."""

    prompts: list[Prompt] = field(default_factory=list)
    stopped: str | None = None


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a whole run would take at the least (no attempt refused) and at the most (every answer as long as
    it may be, every attempt used up)."""

    records: int
    calls: int
    most_calls: int
    input_tokens: int
    most_output_tokens: int
    most_cost: float | None
    """US dollars for ``calls`` with the longest answers; None when the model's price is unknown."""


class _Prompter(llm.Client):
    """A client that writes down what it is asked, and answers with a placeholder."""

    def __init__(self, settings: Settings, rehearsal: DryRun) -> None:
        super().__init__(settings)
        self._model = settings.default_model
        self._rehearsal = rehearsal
        self.step = StepEvent("started", 0, 0, "")

    async def complete(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        model: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        schema: dict[str, Any] | None = None,
    ) -> llm.Completion:
        asked = Prompt(
            step=self.step.number,
            block_type=self.step.block_type,
            messages=[dict(message) for message in messages],
            model=model or self._model,
            temperature=temperature,
            max_tokens=max_tokens,
        )
        self._rehearsal.prompts.append(asked)
        text = f"<answer of step {self.step.number}>"
        return llm.Completion(text, Usage(), asked.model, data=None if schema is None else _example(schema))


async def dry_run(pipeline: Pipeline, variables: Mapping[str, Any], settings: Settings) -> DryRun:
    """Run the pipeline over one seed with a client that asks nobody; gates are not consulted.

    Blocks that ask no model run as they are.
    """
    rehearsal = DryRun()
    prompter = _Prompter(settings, rehearsal)

    def follow(event: StepEvent) -> None:
        prompter.step = event

    context = RunContext(on_step=follow)
    try:
        with llm.use_client(prompter):
            child = (await pipeline.expand(variables, context))[:1]
            for state in child:
                result = await pipeline.without_gates().run_child(state, context)
                if result.error is not None:
                    rehearsal.stopped = result.error.message
    except PipelineError as error:
        rehearsal.stopped = error.message
    return rehearsal


def estimate(pipeline: Pipeline, rehearsals: Sequence[DryRun], records: int, settings: Settings) -> Estimate:
    """What ``records`` records would take, judged by those that were rehearsed."""
    prompts = [prompt for rehearsal in rehearsals for prompt in rehearsal.prompts]
    share = records / len(rehearsals) if rehearsals else 0.0
    attempts = {step.number: step.policy.max_attempts if step.policy else 1 for step in pipeline.steps}
    input_tokens = round(sum(prompt.input_tokens for prompt in prompts) * share)
    output_tokens = round(sum(prompt.max_tokens or _UNBOUNDED_ANSWER for prompt in prompts) * share)
    return Estimate(
        records=records,
        calls=round(len(prompts) * share),
        most_calls=round(sum(attempts.get(prompt.step, 1) for prompt in prompts) * share),
        input_tokens=input_tokens,
        most_output_tokens=output_tokens,
        most_cost=_cost(prompts, share, settings),
    )


def _cost(prompts: Sequence[Prompt], share: float, settings: Settings) -> float | None:
    total = 0.0
    for prompt in prompts:
        price = find_price(resolve(prompt.model, settings))
        if price is None:
            return None
        total += price.cost(prompt.input_tokens, prompt.max_tokens or _UNBOUNDED_ANSWER)
    return total * share


def _example(schema: Mapping[str, Any]) -> Any:
    """The smallest value that looks like the schema, so that later prompts can be rendered."""
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    kind = schema.get("type")
    kind = kind[0] if isinstance(kind, list) and kind else kind
    if kind == "object" or "properties" in schema:
        properties = schema.get("properties") or {}
        return {name: _example(part) for name, part in properties.items() if isinstance(part, Mapping)}
    if kind == "array":
        part = schema.get("items")
        return [_example(part)] if isinstance(part, Mapping) else []
    plain: dict[Any, Any] = {"integer": 0, "number": 0.0, "boolean": True, "null": None}
    return plain.get(kind, "…")
