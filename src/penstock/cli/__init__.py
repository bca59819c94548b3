"""The commands. Each lives in a module of its own, which is imported when the command is called."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping

import click

from penstock import __version__
from penstock.errors import PipelineError

_EXAMPLES = """\b
Examples:
  penstock demo
  penstock run fact_questions facts.jsonl -o questions.jsonl
  penstock validate my_pipeline.yaml seeds.csv
  penstock export questions.jsonl --format openai -o training/
"""

_COMMANDS: Mapping[str, tuple[str, str]] = {
    "demo": ("penstock.cli.demo", "Make a small dataset with the embedded model, and show it."),
    "run": ("penstock.cli.run", "Run a pipeline over seeds; records stream to a file."),
    "validate": ("penstock.cli.validate", "Check a pipeline, and seeds against it, without a model call."),
    "export": ("penstock.cli.export", "Write a run's records as a training-ready dataset."),
    "blocks": ("penstock.cli.listing", "List the blocks and gates, or show one with its settings."),
    "templates": ("penstock.cli.listing", "List the ready-made pipelines, or print one."),
    "doctor": ("penstock.cli.doctor", "Say what is set up, what is missing and how to mend it."),
    "serve": ("penstock.cli.serve", "Start the HTTP service."),
}


class _Commands(click.Group):
    """A group that knows its commands' names and one-line helps without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command = getattr(importlib.import_module(_COMMANDS[cmd_name][0]), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in _COMMANDS.items()])


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=_EXAMPLES,
)
@click.version_option(__version__, prog_name="penstock")
def penstock() -> None:
    """LLM generation that can be trusted: pipelines of blocks, held to gates, healed and traced.

    Exit status: 0 all is well; 1 some records failed, or a check found something; 2 the command or its input
    is wrong; 130 interrupted.
    """


def main() -> None:
    """Run the command line; a failure is one sentence on standard error, never a traceback."""
    try:
        sys.exit(penstock.main(prog_name="penstock", standalone_mode=False))
    except click.exceptions.Abort:
        click.echo("Interrupted.", err=True)
        sys.exit(130)
    except KeyboardInterrupt:
        click.echo("Interrupted.", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except PipelineError as error:
        click.echo(f"Error: {error.message}", err=True)
        sys.exit(2)
    except BrokenPipeError:
        # Whoever read our output has seen enough, as with `penstock blocks | head`.
        sys.stderr.close()
        sys.exit(0)
