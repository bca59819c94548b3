"""``penstock demo``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from penstock.cli.output import (
    ExitStatus,
    format_duration,
    format_usage,
    json_option,
    make_console,
    print_json,
    print_message,
)
from penstock.control_characters import escape_controls
from penstock.entities import JobStatus
from penstock.errors import BadInputError, ConfigurationError

if TYPE_CHECKING:
    from rich.console import Console

    from penstock.jobs.runs import RunReport
    from penstock.settings import Settings

_TEMPLATE = "fact_questions"
_OUTPUT = Path("demo/qa.jsonl")

_EXAMPLES = """\b
Examples:
  penstock demo
  penstock demo --fresh
"""


@click.command(epilog=_EXAMPLES)
@click.option("--fresh", is_flag=True, help="Call the model again, instead of showing the existing records.")
@json_option
def demo(fresh: bool, as_json: bool) -> None:
    """Turn 25 sentences into questions and answers with the embedded model: no key, no network.

    The model is small and often wrong. Gates compare every answer with its sentence; a wrong answer is
    generated again, and refused if it stays wrong. Records go to demo/qa.jsonl.
    """
    from penstock.cli.loading import EXAMPLE_SEEDS, load_pipeline, load_seeds
    from penstock.cli.run import run_to_end
    from penstock.jobs.runs import RunOptions
    from penstock.llm import JournalMode
    from penstock.settings import get_settings

    mode = JournalMode.FRESH if fresh else JournalMode.NORMAL
    settings = get_settings()
    _check_embedded_model(settings)
    print_message(settings.model_line)
    with load_seeds(EXAMPLE_SEEDS, _TEMPLATE) as seeds:
        options = RunOptions(output=_OUTPUT, mode=mode)
        try:
            report, interrupted = run_to_end(load_pipeline(_TEMPLATE), seeds, options)
        except BadInputError as error:
            if "output" not in error.detail:
                raise
            raise BadInputError(
                f"{error.detail['output']} is not as a demo in this folder left it; move it away first."
            ) from error
    if as_json:
        print_json(report.to_dict())
    else:
        _show(report)
    if interrupted:
        sys.exit(ExitStatus.INTERRUPTED)
    sys.exit(ExitStatus.INCOMPLETE if report.error else ExitStatus.OK)


def _check_embedded_model(settings: Settings) -> None:
    """Raise ConfigurationError, with what to type, when the embedded model is used and cannot run."""
    from penstock.llm.embedded import check_requirements

    if settings.model_configured:
        return
    for need in check_requirements(settings):
        if not need.is_met:
            raise ConfigurationError(
                f"The embedded model cannot run: {need.found}; fix it with: {need.advice}"
            )


def _show(report: RunReport) -> None:
    console = make_console(sys.stdout)
    if report.generated:
        console.print(_accepted_table(_read_lines(report.output)))
    if report.failed_output is not None:
        console.print(_refused_table(_read_lines(report.failed_output)))
    _show_figures(console, report)


def _accepted_table(lines: Iterator[dict[str, Any]]) -> Any:
    from rich.markup import escape
    from rich.table import Table

    table = Table(title="Accepted", title_justify="left", show_edge=False, pad_edge=False)
    for heading in ("Question", "Answer", "Made from"):
        table.add_column(heading, overflow="fold")
    table.add_column("Attempts", justify="right")
    for line in lines:
        generated = line["accumulated_state"]["generated"]
        texts = (generated["question"], generated["answer"], line["metadata"]["text"])
        table.add_row(*(escape(escape_controls(text)) for text in texts), str(line["attempts"]))
    return table


def _refused_table(lines: Iterator[dict[str, Any]]) -> Any:
    from rich.markup import escape
    from rich.table import Table

    table = Table(title="\nRefused", title_justify="left", show_edge=False, pad_edge=False)
    table.add_column("Sentence", overflow="fold", ratio=2)
    table.add_column("Last attempt, and what the gates found", overflow="fold", ratio=3)
    for line in lines:
        sentence = escape_controls(line["metadata"].get("text", ""))
        table.add_row(escape(sentence), escape_controls(_describe_last_attempt(line)))
    return table


def _describe_last_attempt(line: dict[str, Any]) -> str:
    """The last attempt's question and answer with the findings; the error if there was no attempt."""
    from rich.markup import escape

    if not line["tries"]:
        return escape(str(line["error"]["error"]))
    last = line["tries"][-1]
    answer = last.get("parts", {}).get("generated", {})
    text = " | ".join(str(value) for value in answer.values()) if isinstance(answer, dict) else str(answer)
    findings = "; ".join(finding["message"] for finding in last["findings"])
    return f"{escape(text)}\n[dim]{escape(findings)}[/dim]"


def _show_figures(console: Console, report: RunReport) -> None:
    usage = report.usage
    console.print(
        f"\n{report.generated} of {report.generated + report.failed} sentences became a record"
        f" · {format_usage(usage, total=True)} in {usage.llm_calls} calls"
        f" · {format_duration(report.seconds)}"
        + (" (from an earlier run; --fresh calls the model again)" if not report.new else "")
    )
    if report.error is not None:
        word = "Paused" if report.status is JobStatus.PAUSED else "Stopped"
        console.print(f"{word}: {report.error}", markup=False)
    if report.error is not None and report.advice is not None:
        console.print(report.advice, markup=False)
    console.print(f"Records: {report.output}")
    if report.failed_output is not None:
        console.print(f"Refused, with every attempt: {report.failed_output}")
    console.print('\nNext: your own sentences, one per line as {"text": …} in facts.jsonl:')
    console.print(f"  penstock run {_TEMPLATE} facts.jsonl -o questions.jsonl", style="bold")
    console.print("or as chat messages for training:")
    console.print(
        f"  penstock export {report.output} --format openai -o demo/dataset"
        " --map user=generated.question --map assistant=generated.answer",
        style="bold",
        soft_wrap=True,
    )


def _read_lines(path: Path | None) -> Iterator[dict[str, Any]]:
    if path is None or not path.exists():
        return
    with path.open("rb") as lines:
        for line in lines:
            yield json.loads(line)
