"""The work in Data Designer: a text column and a structured column over a seed dataset."""

# Data Designer is installed in its own environment, so a type checker does not see it.
# mypy: disable-error-code="import-not-found, import-untyped, no-any-return"

from __future__ import annotations

import json
import logging

import data_designer.config as dd
import pandas as pd
from data_designer.interface import DataDesigner

from benchmarks.work import JSON_PROMPT, MODEL, SCHEMA, TEXT_PROMPT, Job, is_card, make_seeds, report


def main() -> None:
    """Do the work."""
    job = Job.from_arguments()
    logging.disable(logging.INFO)
    provider = dd.ModelProvider(name="mock", endpoint=job.endpoint, api_key="none")
    model = dd.ModelConfig(
        alias=MODEL,
        model=MODEL,
        provider="mock",
        inference_parameters=dd.ChatCompletionInferenceParams(max_parallel_requests=job.concurrency),
        skip_health_check=True,
    )
    seeds = dd.DataFrameSeedSource(df=pd.DataFrame(make_seeds(job.rows)))

    builder = dd.DataDesignerConfigBuilder(model_configs=[model])
    builder.with_seed_dataset(seeds)
    text = TEXT_PROMPT.format(topic="{{ topic }}", notes="{{ notes }}")
    builder.add_column(dd.LLMTextColumnConfig(name="answer", prompt=text, model_alias=MODEL))
    card = JSON_PROMPT.format(answer="{{ answer }}")
    builder.add_column(
        dd.LLMStructuredColumnConfig(name="card", prompt=card, model_alias=MODEL, output_format=SCHEMA)
    )

    designer = DataDesigner(artifact_path=job.out, model_providers=[provider])
    designer.set_run_config(
        dd.RunConfig(otel_metrics_port=None, non_inference_max_parallel_workers=job.concurrency)
    )
    dataset = designer.create(builder, num_records=job.rows).load_dataset()
    cards = (json.loads(card) if isinstance(card, str) else card for card in dataset["card"])
    report(sum(is_card(dict(card)) for card in cards))


if __name__ == "__main__":
    main()
