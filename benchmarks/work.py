"""The work of every column: N seeds, a text call, a JSON schema call on its answer, checked, stored.

Peers run this file in their own environments, so it needs only the standard library.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MODEL = "bench"
"""The name of the model; the mock accepts any."""

TEXT_PROMPT = "Write one sentence about {topic} for a reader who knows nothing of it. Notes: {notes}"
JSON_PROMPT = "Give a title, a summary and a score from 0 to 10 for this text, as JSON: {answer}"

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "title": {"type": "string", "minLength": 1, "maxLength": 80},
        "summary": {"type": "string", "minLength": 1, "maxLength": 400},
        "score": {"type": "integer", "minimum": 0, "maximum": 10},
    },
    "required": ["title", "summary", "score"],
    "additionalProperties": False,
}
"""The schema of the second answer."""

NOTES = (
    "It has been described in different ways by those who worked on it, it is older than most people think, "
    "and what is known of it today comes from careful records kept over many years."
)


@dataclass(frozen=True)
class Job:
    """One run: how many rows, how many requests at a time, where the model is, where results may go."""

    endpoint: str
    rows: int
    concurrency: int
    out: Path

    @classmethod
    def from_arguments(cls) -> Job:
        """The job that the harness put on this process's command line."""
        parser = argparse.ArgumentParser()
        parser.add_argument("--endpoint", required=True)
        parser.add_argument("--rows", type=int, required=True)
        parser.add_argument("--concurrency", type=int, required=True)
        parser.add_argument("--out", type=Path, required=True)
        return cls(**vars(parser.parse_args()))

    def as_arguments(self) -> list[str]:
        """This job as ``from_arguments`` reads it."""
        return [
            *("--endpoint", self.endpoint, "--rows", str(self.rows)),
            *("--concurrency", str(self.concurrency), "--out", str(self.out)),
        ]


def make_seeds(rows: int) -> Iterator[dict[str, str]]:
    """The seeds of a job; all are different, so that no cache can help."""
    for number in range(rows):
        yield {"topic": f"subject number {number}", "notes": NOTES}


def text_prompt(seed: dict[str, Any]) -> str:
    """The first call's prompt."""
    return TEXT_PROMPT.format(topic=seed["topic"], notes=seed["notes"])


def json_prompt(answer: str) -> str:
    """The second call's prompt, on the first call's answer."""
    return JSON_PROMPT.format(answer=answer)


def response_format() -> dict[str, Any]:
    """``SCHEMA`` as a chat-completions request carries it."""
    return {"type": "json_schema", "json_schema": {"name": "response", "schema": SCHEMA, "strict": True}}


def is_card(data: Any) -> bool:
    """Whether ``data`` follows ``SCHEMA``."""
    return (
        isinstance(data, dict)
        and data.keys() == {"title", "summary", "score"}
        and isinstance(data["title"], str)
        and 1 <= len(data["title"]) <= 80
        and isinstance(data["summary"], str)
        and 1 <= len(data["summary"]) <= 400
        and isinstance(data["score"], int)
        and 0 <= data["score"] <= 10
    )


def own_text(seed: dict[str, str], answer: str, card: dict[str, Any]) -> int:
    """Bytes of the texts of a record, each counted once: its seed, its prompt, its two answers."""
    texts = [*seed.values(), text_prompt(seed), answer, json.dumps(card)]
    return sum(len(text.encode()) for text in texts)


def report(rows: int) -> None:
    """Print the number of correct rows for the harness."""
    print(json.dumps({"rows": rows}), flush=True)
