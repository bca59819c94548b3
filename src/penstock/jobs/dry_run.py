"""What a run would ask, without calling a model: the prompts of a seed, and an estimate of the whole."""

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
"""A common rule of thumb for English text, which providers publish."""
_DEFAULT_ANSWER_TOKENS = 512
"""The length of an answer whose step sets no ``max_tokens``."""
_EXAMPLE_SCALARS: Mapping[Any, Any] = {"integer": 0, "number": 0.0, "boolean": True, "null": None}


@dataclass(slots=True)
class Prompt:
    """A call that a step would make."""

    step: int
    """From 1."""
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

    @property
    def output_tokens(self) -> int:
        """The most tokens that the answer may have, an estimate where the step sets no limit."""
        return self.max_tokens or _DEFAULT_ANSWER_TOKENS


@dataclass(slots=True)
class DryRun:
    """The calls that one seed's record would make."""

    prompts: list[Prompt] = field(default_factory=list)
    stopped: str | None = None
    """Why the following calls cannot be predicted; None when all are known."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a whole run would take."""

    records: int
    calls: int
    """When gates accept every first attempt."""
    most_calls: int
    """When every step uses all of its attempts."""
    input_tokens: int
    """Of ``calls``."""
    most_output_tokens: int
    """Of ``calls``, when every answer is as long as it may be."""
    most_cost: float | None
    """US dollars for ``calls`` with the longest answers; None when a model's price is not known."""


class _RecordingClient(llm.Client):
    """Records each call and answers it with a placeholder."""

    def __init__(self, settings: Settings, result: DryRun) -> None:
        super().__init__(settings)
        self._default_model = settings.default_model
        self._result = result
        self._step = StepEvent("started", 0, 0, "")

    def set_step(self, event: StepEvent) -> None:
        """The step that the following calls belong to."""
        self._step = event

    async def complete(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        model: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        schema: dict[str, Any] | None = None,
        allow_incomplete: bool = False,
    ) -> llm.Completion:
        prompt = Prompt(
            step=self._step.number,
            block_type=self._step.block_type,
            messages=[dict(message) for message in messages],
            model=model or self._default_model,
            temperature=temperature,
            max_tokens=max_tokens,
        )
        self._result.prompts.append(prompt)
        text = f"<answer of step {self._step.number}>"
        data = None if schema is None else _make_example(schema)
        return llm.Completion(text, Usage(), prompt.model, data=data, has_data=schema is not None)


async def dry_run(pipeline: Pipeline, variables: Mapping[str, Any], settings: Settings) -> DryRun:
    """Run the pipeline over one seed's variables with a client that calls no model, and without gates.

    Of a multiplier's children, the first is run. Blocks that call no model run as usual.
    """
    result = DryRun()
    client = _RecordingClient(settings, result)
    context = RunContext(on_step=client.set_step)
    try:
        with llm.use_client(client):
            children = await pipeline.expand(variables, context)
            for child in children[:1]:
                outcome = await pipeline.without_gates().run_child(child, context)
                if outcome.error is not None:
                    result.stopped = outcome.error.message
    except PipelineError as error:
        result.stopped = error.message
    return result


def estimate(pipeline: Pipeline, dry_runs: Sequence[DryRun], records: int, settings: Settings) -> Estimate:
    """What ``records`` records would take, extrapolated from the seeds of ``dry_runs``."""
    prompts = [prompt for sample in dry_runs for prompt in sample.prompts]
    factor = records / len(dry_runs) if dry_runs else 0.0
    attempts = {step.number: step.policy.max_attempts if step.policy else 1 for step in pipeline.steps}
    return Estimate(
        records=records,
        calls=round(len(prompts) * factor),
        most_calls=round(sum(attempts.get(prompt.step, 1) for prompt in prompts) * factor),
        input_tokens=round(sum(prompt.input_tokens for prompt in prompts) * factor),
        most_output_tokens=round(sum(prompt.output_tokens for prompt in prompts) * factor),
        most_cost=_estimate_cost(prompts, factor, settings),
    )


def _estimate_cost(prompts: Sequence[Prompt], factor: float, settings: Settings) -> float | None:
    total = 0.0
    for prompt in prompts:
        price = find_price(resolve(prompt.model, settings))
        if price is None:
            return None
        total += price.cost(prompt.input_tokens, prompt.output_tokens)
    return total * factor


def _make_example(schema: Mapping[str, Any]) -> Any:
    """The smallest value with the structure of the schema, so that later prompts can be rendered."""
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    kind = schema.get("type")
    kind = kind[0] if isinstance(kind, list) and kind else kind
    if kind == "object" or "properties" in schema:
        properties = schema.get("properties") or {}
        return {
            name: _make_example(value) for name, value in properties.items() if isinstance(value, Mapping)
        }
    if kind == "array":
        items = schema.get("items")
        return [_make_example(items)] if isinstance(items, Mapping) else []
    return _EXAMPLE_SCALARS.get(kind, "…")
