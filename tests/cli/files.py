"""The pipeline and seeds that tests of the command line use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

ASK = {
    "type": "TextGenerator",
    "config": {"user_prompt": "Tell me about {{ topic }}.", "system_prompt": "Be brief."},
}


def write(
    folder: Path, *blocks: dict[str, Any], topics: tuple[str, ...] = ("a", "b", "c"), **extra: Any
) -> None:
    """Write the pipeline ``p.yaml`` and its seeds ``s.jsonl``."""
    definition = {"name": "P", **extra, "blocks": list(blocks) or [ASK]}
    (folder / "p.yaml").write_text(yaml.safe_dump(definition))
    seeds = "".join(json.dumps({"metadata": {"topic": topic}}) + "\n" for topic in topics)
    (folder / "s.jsonl").write_text(seeds)
