"""``penstock validate``."""

from __future__ import annotations

import sys

import click

from penstock.cli.output import FOUND, WELL, json_option, print_json, say

_SAMPLED_SEEDS = 1000
"""How many seeds are held against the templates' variables."""

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
    """Check PIPELINE, and SEEDS against it, before any model is asked.

    Each finding names the step and says what to write instead. Exit status 1 when there is an error.
    """
    from penstock.blocks.registry import default_registry as default_blocks
    from penstock.cli.loading import find_definition, load_seeds
    from penstock.gates import default_registry as default_gates
    from penstock.workflow import check, required_variables

    definition, source = find_definition(pipeline)
    sample = None
    if seeds is not None:
        with load_seeds(seeds, pipeline) as given:
            sample = given.head(_SAMPLED_SEEDS)
    problems = check(definition, seeds=sample, blocks=default_blocks(), gates=default_gates(), source=source)
    errors = [problem for problem in problems if problem.severity == "error"]
    if as_json:
        print_json({"valid": not errors, "problems": [problem.to_dict() for problem in problems]})
    else:
        for problem in problems:
            click.echo(str(problem))
        if errors:
            say(f"{len(errors)} to mend before {pipeline} can run.")
        else:
            steps = len(definition.get("blocks") or [])
            say(f"{pipeline}: {steps} step{'s' if steps != 1 else ''}, nothing to mend.")
            if seeds is None and (needed := sorted(required_variables(definition))):
                say(f"Each seed has to bring: {', '.join(needed)}.")
    sys.exit(FOUND if errors else WELL)
