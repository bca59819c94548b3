"""What an execution, a record or a job has used."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class UsageView(BaseModel):
    """Tokens, calls, money and time (D5)."""

    model_config = ConfigDict(extra="allow")

    total_tokens: int | None = Field(description="Null when a provider did not report what a call used.")
    total_input_tokens: int | None
    total_output_tokens: int | None
    total_cached_tokens: int | None
    start_time: float | None = Field(description="Seconds since the epoch.")
    end_time: float | None
    total_cost: float | None = Field(
        description="US dollars; null when a price, or what a call used, is unknown."
    )
    llm_calls: int
