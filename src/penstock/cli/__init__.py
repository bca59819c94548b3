"""The command line: one module a command, imported only when the command is called, so that help is fast."""

from __future__ import annotations

import importlib
import io
import logging
import os
import sys
import traceback
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, NoReturn

import click

from penstock import __version__
from penstock.cli.command_group import CommandGroup
from penstock.cli.interrupts import noting_interrupts
from penstock.cli.output import ExitStatus, print_json, print_message, shorten
from penstock.cli.streams import flush_output, prepare_streams, silence_output
from penstock.control_characters import escape_controls
from penstock.errors import PipelineError
from penstock.redaction import redact
from penstock.user_output import divert_user_output

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
    "validate": ("penstock.cli.validate", "Check a pipeline, and seeds against it, without calling a model."),
    "export": ("penstock.cli.export", "Write a run's records as a training-ready dataset."),
    "blocks": ("penstock.cli.blocks", "List the blocks and gates, or show one with its settings."),
    "templates": ("penstock.cli.templates", "List the ready-made pipelines, or print one."),
    "database": ("penstock.cli.database", "Copy a database, from SQLite to PostgreSQL or back."),
    "doctor": ("penstock.cli.doctor", "Show what is set up, what is missing and how to fix it."),
    "serve": ("penstock.cli.serve", "Start the HTTP service."),
}


class _WarningFormatter(logging.Formatter):
    """Warnings of the library as commands show them: the message, with secrets masked."""

    def format(self, record: logging.LogRecord) -> str:
        return escape_controls(redact(super().format(record)))


def _show_crash(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """An unexpected error, with its traceback; its text may quote anything."""
    print_message(redact("".join(traceback.format_exception(kind, error, trace))).rstrip())


class _Commands(CommandGroup):
    """A group that lists its commands without importing them."""

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
    """LLM generation that can be trusted: pipelines of blocks, checked by gates, healed and traced.

    Exit status: 0 success; 1 some records failed, or a check found an error; 2 the command, its input or the
    setup cannot be used; 130 interrupted.
    """


def main() -> None:
    """Run the command line; an error is one sentence on standard error."""
    prepare_streams()
    sys.excepthook = _show_crash
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(_WarningFormatter())
    divert_user_output(on=True)
    try:
        with noting_interrupts():
            _run_command()
    finally:
        flush_output()


def _run_command() -> None:
    stdout = sys.stdout
    try:
        sys.exit(penstock.main(prog_name="penstock", standalone_mode=False))
    except (click.exceptions.Abort, KeyboardInterrupt):
        _fail("Interrupted.", ExitStatus.INTERRUPTED)
    except click.ClickException as error:
        text = io.StringIO()
        error.show(text)
        print_message(text.getvalue().rstrip())
        _fail(error.format_message(), ExitStatus.BAD_INPUT, is_shown=True)
    except PipelineError as error:
        _fail(f"Error: {redact(error.message)}", ExitStatus.BAD_INPUT, error.detail)
    except BrokenPipeError:
        _end_without_reader()
    except OSError as error:
        if not _has_working_folder():
            _fail("Error: The working folder is gone; change to another one.", ExitStatus.BAD_INPUT)
        if error.filename is None:
            raise
        name = os.fsdecode(error.filename)
        _fail(f"Error: {shorten(name)} cannot be used: {error.strerror}.", ExitStatus.BAD_INPUT)
    except SystemExit:
        if sys.stdout is not stdout:  # click has met a broken pipe: it replaces the stream and ends with 1
            _end_without_reader()
        raise


def _has_working_folder() -> bool:
    try:
        os.getcwd()  # noqa: PTH109
    except OSError:
        return False
    return True


def _fail(
    message: str, status: ExitStatus, detail: Mapping[str, Any] | None = None, *, is_shown: bool = False
) -> NoReturn:
    """End with one sentence on standard error; with ``--json`` also with an object on standard output."""
    if not is_shown:
        print_message(message)
    if "--json" in sys.argv[1:]:
        with suppress(PipelineError):
            print_json({"error": message.removeprefix("Error: "), "detail": dict(detail or {})})
    sys.exit(status)


def _end_without_reader() -> NoReturn:
    """The reader of the output has closed it, as in `penstock export -o - | head`."""
    silence_output(1, 2)
    sys.exit(ExitStatus.OK)
