"""What litellm alone costs: the two calls of a row with ``acompletion``, nothing stored."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import litellm
import uvloop

from benchmarks.work import MODEL, Job, is_card, json_prompt, make_seeds, report, response_format, text_prompt


async def run(job: Job) -> int:
    """Do the work of ``job``; returns the number of correct rows."""
    seeds = make_seeds(job.rows)

    async def ask(prompt: str, **extra: Any) -> str:
        answer = await litellm.acompletion(
            model=f"openai/{MODEL}",
            messages=[{"role": "user", "content": prompt}],
            api_base=job.endpoint,
            api_key="none",
            **extra,
        )
        content: str = answer.choices[0].message.content
        return content

    async def work() -> int:
        correct = 0
        for seed in seeds:
            text = await ask(text_prompt(seed))
            correct += is_card(json.loads(await ask(json_prompt(text), response_format=response_format())))
        return correct

    return sum(await asyncio.gather(*(work() for _ in range(job.concurrency))))


if __name__ == "__main__":
    report(uvloop.run(run(Job.from_arguments())))
