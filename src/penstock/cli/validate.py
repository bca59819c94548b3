"""``penstock validate``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from penstock.cli.loading import find_definition, load_seeds, seed_options
from penstock.cli.output import ExitStatus, json_option, pluralize, print_json, print_message, print_result
from penstock.errors import PipelineError

if TYPE_CHECKING:
    from penstock.seeds import SeedFormat
    from penstock.workflow import Issue

_SAMPLED_SEEDS = 1000
"""How many seeds are checked for the variables that the pipeline needs."""

_EXAMPLES = """\b
Examples:
  penstock validate pipeline.yaml
  penstock validate pipeline.yaml seeds.jsonl
  penstock validate fact_questions examples --json
"""


@click.command(epilog=_EXAMPLES)
@click.argument("pipeline")
@click.argument("seeds", required=False)
@seed_options
@json_option
def validate(
    pipeline: str,
    seeds: str | None,
    as_json: bool,
    seed_format: SeedFormat | None,
    separator: str | None,
) -> None:
    """Check PIPELINE, and SEEDS against it, before any model is called.

    Each issue names the step and says what to write instead. Exit status 1 when there is an error.
    """
    from penstock.workflow import Issue, required_variables

    try:
        definition, issues = _find_issues(pipeline, seeds, seed_format, separator)
    except PipelineError as error:
        if not as_json:
            raise
        print_message(f"Error: {error.message}")
        problem = Issue(error.message, "", line=error.detail.get("line")).to_dict()
        print_json({"valid": False, "problems": [problem], "error": error.message, "detail": error.detail})
        sys.exit(ExitStatus.BAD_INPUT)
    errors = [issue for issue in issues if issue.severity == "error"]
    if as_json:
        print_json({"valid": not errors, "problems": [issue.to_dict() for issue in issues]})
    else:
        for issue in issues:
            print_result(str(issue))
        if errors:
            print_message(f"Fix {pluralize(len(errors), 'error')} before {pipeline} can run.")
        else:
            steps = pluralize(len(definition.get("blocks") or []), "step")
            print_message(f"{pipeline}: {steps}, no errors found.")
            if seeds is None and (needed := sorted(required_variables(definition))):
                print_message(f"Each seed needs these variables: {', '.join(needed)}.")
    sys.exit(ExitStatus.INCOMPLETE if errors else ExitStatus.OK)


def _find_issues(
    pipeline: str, seeds: str | None, seed_format: SeedFormat | None, separator: str | None
) -> tuple[dict[str, Any], list[Issue]]:
    """The definition, and what is wrong with it; raises BadInputError when it or a seed cannot be read."""
    from penstock.blocks.registry import default_registry as default_blocks
    from penstock.gates import default_registry as default_gates
    from penstock.workflow import validate as find_issues

    definition, source = find_definition(pipeline)
    sample = None
    if seeds is not None:
        with load_seeds(seeds, pipeline, seed_format=seed_format, separator=separator) as given:
            given.check()
            sample = given.head(_SAMPLED_SEEDS)
    issues = find_issues(
        definition, seeds=sample, blocks=default_blocks(), gates=default_gates(), source=source
    )
    return definition, issues
