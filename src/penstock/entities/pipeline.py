"""The limits, the usage and the result of a pipeline."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from penstock.errors import DefinitionError, PipelineError

_LIMIT: Any = Field(default=None, ge=-1)


class Constraints(BaseModel):
    """Limits on what a job may use; ``-1``, null and absent mean unlimited (contract A43-A48, D7)."""

    model_config = ConfigDict(strict=True, extra="forbid")

    max_total_tokens: int | None = _LIMIT
    max_total_input_tokens: int | None = _LIMIT
    max_total_output_tokens: int | None = _LIMIT
    max_total_cached_tokens: int | None = _LIMIT
    max_total_execution_time: float | None = _LIMIT
    """Seconds."""
    max_total_cost: float | None = _LIMIT
    """US dollars."""

    @classmethod
    def read(cls, value: Any) -> Constraints:
        """The limits in a definition's ``constraints``, which may be null; raises DefinitionError."""
        try:
            return cls.model_validate({} if value is None else value)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(map(str, first["loc"])) or "constraints"
            raise DefinitionError(
                f"The constraint {name} cannot be used: {first['msg']}; give a number, or -1 for no limit.",
                detail={"constraint": name},
            ) from error

    def find_exceeded(self, usage: Usage, seconds: float) -> str | None:
        """The name of the first limit that is reached, in the order of the fields; None when all hold."""
        spent = {
            "max_total_tokens": usage.total_tokens,
            "max_total_input_tokens": usage.input_tokens,
            "max_total_output_tokens": usage.output_tokens,
            "max_total_cached_tokens": usage.cached_tokens,
            "max_total_execution_time": seconds,
            "max_total_cost": usage.cost,
        }
        for name, used in spent.items():
            limit = getattr(self, name)
            if limit is not None and limit >= 0 and used is not None and used >= limit:
                return name
        return None

    @property
    def unlimited(self) -> bool:
        """Whether no limit is set."""
        return all(value is None or value < 0 for value in self.model_dump().values())


@dataclass(slots=True)
class Usage:
    """Tokens, calls, money and time of one or more model calls; times are seconds since the epoch.

    ``cost`` is in US dollars, and None when the price of any of the calls is unknown. Where a provider did
    not report what a call used, tokens and cost hold an estimate, by which limits are checked; such numbers
    are not shown.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    llm_calls: int = 0
    cost: float | None = 0.0
    start_time: float | None = None
    end_time: float | None = None
    journal_hits: int = 0
    """Calls that the journal answered instead of the provider."""
    unreported_calls: int = 0
    """Calls of which the provider did not say what they used."""

    @property
    def total_tokens(self) -> int:
        """Input and output tokens."""
        return self.input_tokens + self.output_tokens

    def add(self, other: Usage) -> None:
        """Add the amounts of ``other`` and extend the time span to include it."""
        self.input_tokens += other.input_tokens
        self.output_tokens += other.output_tokens
        self.cached_tokens += other.cached_tokens
        self.llm_calls += other.llm_calls
        self.journal_hits += other.journal_hits
        self.unreported_calls += other.unreported_calls
        self.cost = None if self.cost is None or other.cost is None else self.cost + other.cost
        if other.start_time is not None and (self.start_time is None or other.start_time < self.start_time):
            self.start_time = other.start_time
        if other.end_time is not None and (self.end_time is None or other.end_time > self.end_time):
            self.end_time = other.end_time

    def to_dict(self) -> dict[str, Any]:
        """The usage under the contract's keys (D5); None for what is not known."""
        is_known = not self.unreported_calls
        return {
            "total_tokens": self.total_tokens if is_known else None,
            "total_input_tokens": self.input_tokens if is_known else None,
            "total_output_tokens": self.output_tokens if is_known else None,
            "total_cached_tokens": self.cached_tokens if is_known else None,
            "start_time": self.start_time,
            "end_time": self.end_time,
            "total_cost": self.cost if is_known or self.cost == 0.0 else None,
            "llm_calls": self.llm_calls,
            "journal_hits": self.journal_hits,
        }


@dataclass(slots=True)
class ExecutionResult:
    """The result of one execution; unpacks as ``(result, trace, trace_id)``.

    ``trace`` has one entry a step that ran: block_type, input, output, accumulated_state, execution_time
    (seconds), and where they apply usage, verdicts and attempts.
    """

    result: dict[str, Any]
    trace: list[dict[str, Any]]
    trace_id: str
    usage: Usage = field(default_factory=Usage)
    initial: dict[str, Any] = field(default_factory=dict)
    """The state at the start of the execution."""
    child: str = ""
    """Which child of a multiplier this is; empty when the pipeline does not multiply."""
    error: PipelineError | None = None
    """Why the execution ended early; ``result`` is then the state at that point."""

    @property
    def attempts(self) -> int:
        """The most attempts of any step; 1 when nothing was healed."""
        return max((len(entry.get("attempts", ())) for entry in self.trace), default=1) or 1

    def __iter__(self) -> Iterator[Any]:
        return iter((self.result, self.trace, self.trace_id))

    def to_dict(self) -> dict[str, Any]:
        """The result as ``/execute`` returns it (contract D6)."""
        data = {
            "result": self.result,
            "trace": self.trace,
            "trace_id": self.trace_id,
            "usage": self.usage.to_dict(),
        }
        if self.error is not None:
            data["error"] = {"error": self.error.message, "detail": self.error.detail}
        return data
