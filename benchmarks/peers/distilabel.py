"""The work in distilabel: two TextGeneration tasks and a step that checks the second one's JSON."""

# distilabel is installed in its own environment, so a type checker does not see it.
# mypy: disable-error-code="import-not-found, import-untyped, untyped-decorator, misc, no-any-return"

# No postponed annotations here: distilabel reads the annotations of its steps at run time.

import json
from typing import Any

from distilabel.models import OpenAILLM
from distilabel.pipeline import Pipeline
from distilabel.steps import LoadDataFromDicts, StepInput, step
from distilabel.steps.tasks import TextGeneration

from benchmarks.work import (
    JSON_PROMPT,
    MODEL,
    TEXT_PROMPT,
    Job,
    is_card,
    make_seeds,
    report,
    response_format,
)


@step(inputs=["card"], outputs=["valid"])
def CheckCard(inputs: StepInput) -> Any:  # noqa: N802  # distilabel makes a class of it
    """Whether each card follows the schema."""
    for row in inputs:
        row["valid"] = is_card(json.loads(row["card"]))
    yield inputs


def main() -> None:
    """Do the work."""
    job = Job.from_arguments()

    def model(**settings: Any) -> Any:
        return OpenAILLM(model=MODEL, base_url=job.endpoint, api_key="none", generation_kwargs=settings)

    # A task sends one batch at a time, all its requests at once, and both tasks run at the same time.
    batch = job.concurrency // 2
    with Pipeline(name="bench", cache_dir=job.out / "cache") as pipeline:
        seeds = LoadDataFromDicts(data=list(make_seeds(job.rows)), batch_size=batch)
        text = TextGeneration(
            llm=model(),
            template=TEXT_PROMPT.format(topic="{{ topic }}", notes="{{ notes }}"),
            columns=["topic", "notes"],
            output_mappings={"generation": "answer"},
            input_batch_size=batch,
        )
        card = TextGeneration(
            llm=model(extra_body={"response_format": response_format()}),
            template=JSON_PROMPT.format(answer="{{ answer }}"),
            columns=["answer"],
            output_mappings={"generation": "card"},
            input_batch_size=batch,
        )
        seeds >> text >> card >> CheckCard(input_batch_size=batch)
    distiset = pipeline.run(use_cache=False)
    distiset.save_to_disk(str(job.out / "dataset"), save_card=False, save_pipeline_config=False)
    report(sum(distiset["default"]["train"]["valid"]))


if __name__ == "__main__":
    main()
