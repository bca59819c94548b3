"""Measure the baselines, penstock and the installed peers with a mock model, and print a Markdown table."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import tempfile
from pathlib import Path

from benchmarks.columns import BASELINE, OURS, Column, base_environment, installed_columns
from benchmarks.measure import BenchmarkError, Measurement, Mock, make_certificate, run, time_command
from benchmarks.report import Results, Scenario, render
from benchmarks.runners import penstock_run
from benchmarks.work import Job

SCENARIOS = (
    Scenario("0 ms, 64 in flight", 0, 64, {"fast": 6000, "middling": 3000, "slow": 1000}),
    Scenario("200 ms, 256 in flight", 200, 256, {"fast": 5000, "middling": 3000, "slow": 1000}),
    Scenario("0 ms, 64 in flight, HTTPS", 0, 64, {"fast": 6000, "middling": 3000, "slow": 1000}, https=True),
)
SIZES = (500, 2_000, 16_000)
QUICK_SHARE = 6
"""By what ``--quick`` divides the rows."""


def main() -> int:
    """Measure, and print the table; exits 1 when a run could not be counted."""
    arguments = _parse_arguments()
    columns = installed_columns(arguments.tree)
    if arguments.columns:
        columns = {name: columns[name] for name in columns if name in arguments.columns or "@" in name}
    share = QUICK_SHARE if arguments.quick else 1
    scenarios = [
        dataclasses.replace(s, rows={speed: rows // share for speed, rows in s.rows.items()})
        for s in SCENARIOS
    ]
    results = Results(columns, scenarios, arguments.rounds or (1 if arguments.quick else 3), arguments.quick)

    if os.getloadavg()[0] > 0.5:
        print("Other programs are running; they change the results.", file=sys.stderr)
    for number in range(results.rounds):
        for scenario in scenarios:
            _run_scenario(results, scenario, number)
    if not arguments.no_sizes:
        _run_sizes(results, SIZES[:-1] if arguments.quick else SIZES)
    if OURS in columns:
        _time_help(results)

    text = render(results)
    print(text)
    if arguments.output:
        arguments.output.write_text(_page(text))
    if arguments.raw:
        arguments.raw.write_text(json.dumps(_raw(results), indent=1))
    return 1 if results.failures else 0


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rows, one round")
    parser.add_argument("--rounds", type=int, help="3, or 1 with --quick")
    parser.add_argument(
        "--columns", type=lambda text: text.split(","), help="only these: " + ",".join(installed_columns())
    )
    parser.add_argument("--no-sizes", action="store_true", help="without the runs of 500 to 16,000 rows")
    parser.add_argument(
        "--tree",
        type=lambda text: Path(text).resolve(),
        action="append",
        default=[],
        help="another working tree of penstock to compare with; may be repeated",
    )
    parser.add_argument("--output", type=Path, help="write the report to this Markdown file too")
    parser.add_argument("--raw", type=Path, help="write every measurement to this JSON file")
    return parser.parse_args()


def _run_scenario(results: Results, scenario: Scenario, number: int) -> None:
    columns = list(results.columns.values())
    turn = number % len(columns)
    with (
        tempfile.TemporaryDirectory(prefix="bench-tls-") as folder,
        Mock(
            scenario.latency_ms, certificate=make_certificate(Path(folder)) if scenario.https else None
        ) as mock,
    ):
        for column in columns[turn:] + columns[:turn]:
            where = f"{scenario.name}, {column.name}"
            try:
                measured = measure(column, mock, scenario.rows[column.speed], scenario.concurrency)
            except BenchmarkError as error:
                _fail(results, where, error)
                continue
            results.runs.setdefault((scenario.name, column.name), []).append(measured)
            _progress(f"round {number + 1}, {where}", measured)


def _run_sizes(results: Results, sizes: tuple[int, ...]) -> None:
    scenario = SCENARIOS[0]
    with Mock(scenario.latency_ms) as mock:
        for name in (BASELINE, OURS):
            for size in sizes if name in results.columns else ():
                where = f"{size} rows, {name}"
                try:
                    measured = measure(results.columns[name], mock, size, scenario.concurrency)
                except BenchmarkError as error:
                    _fail(results, where, error)
                    continue
                results.sizes.setdefault((name, size), []).append(measured)
                _progress(where, measured)


def measure(column: Column, mock: Mock, rows: int, concurrency: int) -> Measurement:
    """One run in a folder of its own; raises BenchmarkError unless every row is correct."""
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder:
        job = Job(mock.endpoint, rows, concurrency, Path(folder))
        measured, printed = run(column.prepare(job), mock, rows)
        try:
            correct = column.count(job, printed)
        except (OSError, ValueError) as error:
            raise BenchmarkError(f"its output could not be read: {error}") from error
        if correct != rows or measured.calls < 2 * rows:
            raise BenchmarkError(f"{correct} of {rows} rows are correct, with {measured.calls} calls")
        if column.name == OURS:
            measured = dataclasses.replace(measured, disk=penstock_run.disk(job))
    return measured


def _time_help(results: Results) -> None:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        home = Path(folder)
        argv = [penstock_run.executable(), "--help"]
        try:
            results.help_seconds = [time_command(argv, base_environment(home), home) for _ in range(5)]
        except (OSError, ValueError) as error:
            _fail(results, "penstock --help", error)


def _progress(where: str, measured: Measurement) -> None:
    print(
        f"{where}: {measured.rows_per_second:,.0f} rows/s, {measured.cpu_per_1000:.2f} CPU s per 1,000, "
        f"first request {measured.first_request:.2f} s, {measured.max_rss:.0f} MB, "
        f"{measured.max_in_flight} in flight, mock {measured.mock_cpu / measured.seconds:.0%} busy",
        file=sys.stderr,
    )


def _fail(results: Results, where: str, error: Exception) -> None:
    results.failures[where] = str(error) or type(error).__name__
    print(f"{where}: not counted\n{error}", file=sys.stderr)


def _page(text: str) -> str:
    return (
        "# Benchmarks\n\nMade by `make bench` (`python -m benchmarks`). Peers are measured when they are "
        "installed: `python -m benchmarks.peers install all`. To compare with another version of penstock, "
        "check it out into a second folder and run\n`python -m benchmarks --columns aiohttp,penstock --tree "
        "../other`; both are measured in the same run, in turn.\n\n" + text
    )


def _raw(results: Results) -> dict[str, object]:
    return {
        "cores": os.cpu_count(),
        "load": os.getloadavg(),
        "runs": [
            {"scenario": scenario, "column": column, **dataclasses.asdict(run)}
            for (scenario, column), runs in results.runs.items()
            for run in runs
        ],
        "sizes": [
            {"column": column, **dataclasses.asdict(run)}
            for (column, _), runs in results.sizes.items()
            for run in runs
        ],
        "help_seconds": results.help_seconds,
        "failures": results.failures,
    }


if __name__ == "__main__":
    sys.exit(main())
