"""The work in sdg-hub: a flow of prompt, chat and extraction blocks, twice, and a JSON parser."""

# sdg-hub is installed in its own environment, so a type checker sees neither it nor pandas.
# mypy: disable-error-code="import-not-found, import-untyped, no-any-return"

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
from sdg_hub import Flow

from benchmarks.work import JSON_PROMPT, MODEL, TEXT_PROMPT, Job, is_card, make_seeds, report, response_format


def main() -> None:
    """Do the work."""
    job = Job.from_arguments()
    flow = Flow.from_yaml(str(_write_flow(job.out)))
    flow.set_model_config(model=f"openai/{MODEL}", api_base=job.endpoint, api_key="none")
    made = flow.generate(pd.DataFrame(make_seeds(job.rows)), max_concurrency=job.concurrency)
    made.drop(columns=[name for name in made if name.endswith(("_messages", "_response"))]).to_parquet(
        job.out / "records.parquet"
    )
    cards = made[["title", "summary", "score"]].astype({"score": int}).to_dict("records")
    report(sum(map(is_card, cards)))


def _write_flow(folder: Path) -> Path:
    text = TEXT_PROMPT.format(topic="{{topic}}", notes="{{notes}}")
    card = JSON_PROMPT.format(answer="{{text_content}}")
    flow = {
        "metadata": {
            "name": "bench",
            "version": "1.0.0",
            "author": "bench",
            "description": "The common work.",
        },
        "blocks": [
            *_call(folder, "text", text, ["topic", "notes"], {}),
            *_call(folder, "card", card, ["text_content"], {"response_format": response_format()}),
            _block("JSONParserBlock", "parse", input_cols=["card_content"], output_cols=[]),
        ],
    }
    path = folder / "flow.yaml"
    path.write_text(json.dumps(flow))
    return path


def _call(
    folder: Path, name: str, prompt: str, inputs: list[str], settings: dict[str, Any]
) -> list[dict[str, Any]]:
    template = folder / f"{name}.yaml"
    template.write_text(json.dumps([{"role": "user", "content": prompt}]))
    messages, response = f"{name}_messages", f"{name}_response"
    return [
        _block(
            "PromptBuilderBlock",
            f"{name}_prompt",
            input_cols=inputs,
            output_cols=messages,
            prompt_config_path=template.name,
        ),
        _block(
            "LLMChatBlock",
            f"{name}_ask",
            input_cols=messages,
            output_cols=response,
            async_mode=True,
            **settings,
        ),
        _block("LLMResponseExtractorBlock", f"{name}_take", input_cols=response, field_prefix=f"{name}_"),
    ]


def _block(kind: str, name: str, **config: Any) -> dict[str, Any]:
    return {"block_type": kind, "block_config": {"block_name": name, **config}}


if __name__ == "__main__":
    main()
