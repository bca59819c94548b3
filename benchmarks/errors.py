"""Measure throughput when the model fails, refuses and limits: ``python -m benchmarks.errors``.

Each scenario is one row of the table; ``--columns`` names the tools, as in ``python -m benchmarks``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.columns import OURS, Column, installed_columns
from benchmarks.measure import BenchmarkError, Mock, run
from benchmarks.report import machine, table
from benchmarks.work import Job

CONCURRENCY = 64


@dataclass(frozen=True)
class Scenario:
    """How the model behaves, and the shortest time that the rows can take."""

    title: str
    latency_ms: float
    flags: dict[str, float]
    ideal: Callable[[int], float]
    """Seconds for so many calls, if the client did everything right."""


def _in_flight(latency_ms: float, calls: int) -> float:
    return calls * latency_ms / 1000 / CONCURRENCY


def _halved(calls: int) -> float:
    return max(calls - 60, 0) / 60 if calls <= 660 else 10 + (calls - 660) / 30


SCENARIOS = {
    "mixed": Scenario(
        "5 % 429, 3 % 500, 1 % closed after 30 s, 1 % malformed, at 50 ms",
        50,
        {"rate_429": 0.05, "rate_500": 0.03, "rate_hang": 0.01, "rate_malformed": 0.01, "hang_seconds": 30},
        lambda calls: 30 + _in_flight(50, calls),
    ),
    "none": Scenario("no errors at 200 ms", 200, {}, lambda calls: _in_flight(200, calls)),
    "isolated": Scenario("3 % 500 at 200 ms", 200, {"rate_500": 0.03}, lambda n: _in_flight(200, n)),
    "limit": Scenario(
        "60 calls a second at 50 ms", 50, {"limit_per_second": 60}, lambda calls: max(calls - 60, 0) / 60
    ),
    "headers": Scenario(
        "the same, described in headers",
        50,
        {"limit_per_second": 60, "show_limit": 1},
        lambda calls: max(calls - 60, 0) / 60,
    ),
    "halved": Scenario(
        "60 calls a second at 50 ms, 30 after 10 s", 50, {"limit_per_second": 60, "halve_after": 10}, _halved
    ),
}


def main() -> int:
    """Measure, and print the table; exits 1 when a run could not be counted."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.errors", description=__doc__)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=2, help="the best one counts")
    parser.add_argument("--columns", type=lambda text: text.split(","), help="only these tools")
    parser.add_argument("--scenarios", type=lambda text: text.split(","), default=list(SCENARIOS))
    arguments = parser.parse_args()
    wanted = arguments.columns or [name for name, one in installed_columns().items() if one.stores]
    columns = [column for name, column in installed_columns().items() if name in wanted]
    rows, failed = [], False
    for name in arguments.scenarios:
        if name not in SCENARIOS:
            parser.error(f"There is no scenario {name}; there are {', '.join(SCENARIOS)}.")
        scenario = SCENARIOS[name]
        cells = [scenario.title, f"{scenario.ideal(2 * arguments.rows):.1f} s"]
        for column in columns:
            try:
                best = min(_measure(scenario, column, arguments.rows) for _ in range(arguments.rounds))
                cells.append(f"{best[0]:.1f} s, {best[1]:.1%} refused")
            except BenchmarkError as error:
                failed = True
                print(f"{name}, {column.name}: not counted\n{error}", file=sys.stderr)
                cells.append("–")
        rows.append(cells)
    print(f"{machine()} {arguments.rows:,} rows, two calls each, {CONCURRENCY} in flight.\n")
    print(table(["", "ideal", *(f"{column.title} · {column.version}" for column in columns)], rows))
    return 1 if failed else 0


def _measure(scenario: Scenario, column: Column, rows: int) -> tuple[float, float]:
    """The seconds of one run, and the share of its calls that were refused."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder,
        Mock(scenario.latency_ms, certificate=None, **scenario.flags) as mock,
    ):
        job = Job(mock.endpoint, rows, CONCURRENCY, Path(folder))
        measured, printed = run(column.prepare(job), mock, rows)
        try:
            correct = column.count(job, printed)
        except (OSError, ValueError) as error:
            raise BenchmarkError(f"its output could not be read: {error}") from error
        if correct != rows and column.name == OURS:
            raise BenchmarkError(f"{correct} of {rows} rows are correct")
        statuses = mock.ask("GET", "/stats")["statuses"]
        print(
            f"{scenario.title}, {column.name}: {measured.seconds:.1f} s, {correct} of {rows} rows, "
            f"{statuses}",
            file=sys.stderr,
        )
        return measured.seconds, statuses.get("429", 0) / max(measured.calls, 1)


if __name__ == "__main__":
    sys.exit(main())
