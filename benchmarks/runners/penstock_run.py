"""penstock with everything on: trace, usage, journal, gates, healing, adaptive concurrency, SQLite."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.work import JSON_PROMPT, MODEL, SCHEMA, TEXT_PROMPT, Job, is_card, make_seeds, own_text

PIPELINE: dict[str, Any] = {
    "name": "bench",
    "description": "A sentence, then a title, a summary and a score for it.",
    "blocks": [
        {
            "type": "TextGenerator",
            "config": {"user_prompt": TEXT_PROMPT.format(topic="{{ topic }}", notes="{{ notes }}")},
            "gates": [{"type": "LengthGate", "config": {"min_length": 1, "max_length": 4000}}],
            "heal": {"max_attempts": 3},
        },
        {
            "type": "StructuredGenerator",
            "config": {"user_prompt": JSON_PROMPT.format(answer="{{ assistant }}"), "json_schema": SCHEMA},
            "gates": [{"type": "JSONSchemaGate", "config": {"json_schema": SCHEMA}}],
            "heal": {"max_attempts": 3, "entropy": {"kind": "ramp", "start": 0.0, "step": 0.05}},
        },
    ],
}
"""The common work; written to the file as JSON, which is YAML too."""


def prepare(job: Job) -> list[str]:
    """Write the pipeline and the seeds into the job's folder; returns the command that runs them."""
    pipeline, seeds = job.out / "pipeline.yaml", job.out / "seeds.jsonl"
    pipeline.write_text(json.dumps(PIPELINE, indent=1))
    with seeds.open("w") as file:
        file.writelines(json.dumps(seed) + "\n" for seed in make_seeds(job.rows))
    return [
        *(executable(), "run", str(pipeline), str(seeds), "-o", str(_output(job))),
        *("--concurrency", str(job.concurrency)),
    ]


def executable() -> str:
    """The installed command."""
    return str(Path(sys.executable).with_name("penstock"))


def environment(job: Job) -> dict[str, str]:
    """The settings of penstock."""
    return {
        "LLM_ENDPOINT": job.endpoint,
        "LLM_MODEL": MODEL,
        "LLM_API_KEY": "none",
        "LLM_CONCURRENCY": str(job.concurrency),
        "DATABASE_PATH": str(job.out / "database" / "penstock.db"),
    }


def count(job: Job) -> int:
    """How many records have a correct card."""
    with _output(job).open() as file:
        return sum(is_card(_state(line).get("generated")) for line in file)


def disk(job: Job) -> dict[str, float]:
    """Bytes per record: of the database, of the output, and of the records' own text."""
    database = sum(file.stat().st_size for file in (job.out / "database").rglob("*") if file.is_file())
    own = 0
    with _output(job).open() as file:
        for seed, line in zip(make_seeds(job.rows), file, strict=True):
            state = _state(line)
            own += own_text(seed, state["assistant"], state["generated"])
    return {
        "database": database / job.rows,
        "output": _output(job).stat().st_size / job.rows,
        "own_text": own / job.rows,
    }


def _output(job: Job) -> Path:
    return job.out / "records.jsonl"


def _state(line: str) -> dict[str, Any]:
    state: dict[str, Any] = json.loads(line)["accumulated_state"]
    return state
