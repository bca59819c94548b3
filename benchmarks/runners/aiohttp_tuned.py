"""The baseline's calls as cheap as aiohttp allows: uvloop, orjson, one connection a worker."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import orjson
import uvloop

from benchmarks.work import MODEL, Job, is_card, json_prompt, make_seeds, report, response_format, text_prompt


async def run(job: Job) -> int:
    """Do the work of ``job``; returns the number of correct rows."""
    url = f"{job.endpoint}/chat/completions"
    seeds = make_seeds(job.rows)
    structured = {"response_format": response_format()}
    connector = aiohttp.TCPConnector(limit=job.concurrency)
    headers = {"Authorization": "Bearer none", "Content-Type": "application/json"}

    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:

        async def ask(prompt: str, extra: dict[str, Any]) -> str:
            request = {"model": MODEL, "messages": [{"role": "user", "content": prompt}]} | extra
            async with session.post(url, data=orjson.dumps(request)) as response:
                content: str = orjson.loads(await response.read())["choices"][0]["message"]["content"]
                return content

        async def work() -> int:
            correct = 0
            for seed in seeds:
                text = await ask(text_prompt(seed), {})
                correct += is_card(orjson.loads(await ask(json_prompt(text), structured)))
            return correct

        return sum(await asyncio.gather(*(work() for _ in range(job.concurrency))))


if __name__ == "__main__":
    report(uvloop.run(run(Job.from_arguments())))
