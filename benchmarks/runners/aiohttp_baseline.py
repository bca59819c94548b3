"""The baseline: the two calls of a row with plain aiohttp; the answer is checked and not stored."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp

from benchmarks.work import MODEL, Job, is_card, json_prompt, make_seeds, report, response_format, text_prompt


async def run(job: Job) -> int:
    """Do the work of ``job``; returns the number of correct rows."""
    url = f"{job.endpoint}/chat/completions"
    seeds = make_seeds(job.rows)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=job.concurrency)) as session:

        async def ask(prompt: str, **extra: Any) -> str:
            request = {"model": MODEL, "messages": [{"role": "user", "content": prompt}], **extra}
            async with session.post(url, json=request) as response:
                answer = await response.json()
                content: str = answer["choices"][0]["message"]["content"]
                return content

        async def work() -> int:
            correct = 0
            for seed in seeds:
                text = await ask(text_prompt(seed))
                correct += is_card(
                    json.loads(await ask(json_prompt(text), response_format=response_format()))
                )
            return correct

        return sum(await asyncio.gather(*(work() for _ in range(job.concurrency))))


if __name__ == "__main__":
    report(asyncio.run(run(Job.from_arguments())))
