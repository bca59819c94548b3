"""The work in Curator: one ``LLM`` for the text, one with a response format for the card."""

# Curator is installed in its own environment, so a type checker sees neither it nor pydantic's classes there.
# mypy: disable-error-code="import-not-found, import-untyped, misc, no-any-return"

from __future__ import annotations

from typing import Any

from bespokelabs import curator
from pydantic import BaseModel, ConfigDict, Field

from benchmarks.work import MODEL, Job, is_card, json_prompt, make_seeds, report, text_prompt


class Card(BaseModel):
    """``work.SCHEMA`` as a pydantic model."""

    model_config = ConfigDict(extra="forbid")

    title: str = Field(min_length=1, max_length=80)
    summary: str = Field(min_length=1, max_length=400)
    score: int = Field(ge=0, le=10)


class Text(curator.LLM):
    """The first call."""

    def prompt(self, row: dict[str, Any]) -> str:
        """The prompt of a seed."""
        return text_prompt(row)

    def parse(self, row: dict[str, Any], response: str) -> dict[str, Any]:
        """The seed and its answer."""
        return {**row, "answer": response}


class CardOfText(curator.LLM):
    """The second call, on the first one's answer."""

    response_format = Card

    def prompt(self, row: dict[str, Any]) -> str:
        """The prompt of an answer."""
        return json_prompt(row["answer"])

    def parse(self, row: dict[str, Any], response: Card) -> dict[str, Any]:
        """The seed, its answer and its card."""
        return {**row, **response.model_dump()}


def main() -> None:
    """Do the work."""
    job = Job.from_arguments()

    def backend() -> dict[str, Any]:
        return {
            "base_url": job.endpoint,
            # Its default limits allow only 200 requests a second.
            "max_requests_per_minute": 100_000_000,
            "max_tokens_per_minute": 1_000_000_000_000,
            "max_concurrent_requests": job.concurrency,
        }

    text = Text(model_name=MODEL, backend="openai", backend_params=backend())
    answers = text(list(make_seeds(job.rows)), working_dir=str(job.out))
    cards = CardOfText(model_name=MODEL, backend="openai", response_format=Card, backend_params=backend())
    dataset = cards(answers.dataset, working_dir=str(job.out)).dataset
    report(sum(is_card({key: row[key] for key in ("title", "summary", "score")}) for row in dataset))


if __name__ == "__main__":
    main()
