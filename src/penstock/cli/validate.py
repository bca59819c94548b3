"""``penstock validate``."""

from __future__ import annotations

import sys

import click

from penstock.cli.output import ExitStatus, json_option, pluralize, print_json, print_message

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
@json_option
def validate(pipeline: str, seeds: str | None, as_json: bool) -> None:
    """Check PIPELINE, and SEEDS against it, before any model is called.

    Each issue names the step and says what to write instead. Exit status 1 when there is an error.
    """
    from penstock.blocks.registry import default_registry as default_blocks
    from penstock.cli.loading import find_definition, load_seeds
    from penstock.gates import default_registry as default_gates
    from penstock.workflow import required_variables
    from penstock.workflow import validate as find_issues

    definition, source = find_definition(pipeline)
    sample = None
    if seeds is not None:
        with load_seeds(seeds, pipeline) as given:
            sample = given.head(_SAMPLED_SEEDS)
    issues = find_issues(
        definition, seeds=sample, blocks=default_blocks(), gates=default_gates(), source=source
    )
    errors = [issue for issue in issues if issue.severity == "error"]
    if as_json:
        print_json({"valid": not errors, "problems": [issue.to_dict() for issue in issues]})
    else:
        for issue in issues:
            click.echo(str(issue))
        if errors:
            print_message(f"Fix {pluralize(len(errors), 'error')} before {pipeline} can run.")
        else:
            steps = pluralize(len(definition.get("blocks") or []), "step")
            print_message(f"{pipeline}: {steps}, no errors found.")
            if seeds is None and (needed := sorted(required_variables(definition))):
                print_message(f"Each seed needs these variables: {', '.join(needed)}.")
    sys.exit(ExitStatus.INCOMPLETE if errors else ExitStatus.OK)
