"""The results as Markdown."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benchmarks.columns import BASELINE, OURS, RIVAL, Column
from benchmarks.measure import Measurement

BASELINE_SHARES = {0.0: 0.55, 200.0: 0.9}
"""The target share of the baseline's rate over HTTP, by the model's latency in ms."""


@dataclass(frozen=True)
class Scenario:
    """How slow the model is and how many requests may be in flight."""

    name: str
    latency_ms: float
    concurrency: int
    rows: Mapping[str, int]
    """Rows by a column's speed."""
    https: bool = False

    @property
    def ideal(self) -> float | None:
        """Rows a second if only the model took time: each row waits for it twice."""
        return self.concurrency / (2 * self.latency_ms / 1000) if self.latency_ms else None


@dataclass
class Results:
    """All results of one session."""

    columns: Mapping[str, Column]
    scenarios: Sequence[Scenario]
    rounds: int
    quick: bool = False
    runs: dict[tuple[str, str], list[Measurement]] = field(default_factory=dict)
    """By scenario and column."""
    sizes: dict[tuple[str, int], list[Measurement]] = field(default_factory=dict)
    """By column and rows, at 0 ms."""
    help_seconds: list[float] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    """Why a run could not be counted, by scenario and column."""


def render(results: Results) -> str:
    """The whole report."""
    parts = [_machine(results), _main_table(results), _sizes(results), _small(results), _targets(results)]
    if results.failures:
        parts.append(_failures(results))
    return "\n\n".join(part for part in parts if part) + "\n"


def _machine(results: Results) -> str:
    versions = ", ".join(f"{column.name} {column.version}" for column in results.columns.values())
    ideals = " ".join(f"{s.name}: ideal {s.ideal:.0f} rows/s." for s in results.scenarios if s.ideal)
    return (
        f"{machine()} Versions: {versions}.\n\n"
        "All do the same work: N seeds, a text call, a JSON schema call on its answer, checked, stored "
        "(baselines store nothing). The model is a mock on the same machine, limited to one core; only the "
        "client's processes are measured. Rows/s and CPU are counted from the arrival of the first call at "
        f"the mock to the end of the process. Median of {results.rounds} runs, in turn. {ideals}"
    ).strip()


def machine() -> str:
    """This machine, in one sentence."""
    return (
        f"{os.cpu_count()} cores, {_processor()}, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}."
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _main_table(results: Results) -> str:
    heads = [""]
    for scenario in results.scenarios:
        heads += [f"rows/s at {scenario.name}", "÷ baseline", "÷ Curator"]
        if not scenario.latency_ms:
            heads.append("CPU s per 1,000 rows")
    heads += ["first request after start", "peak memory"]
    return table(heads, [_row(results, column) for column in results.columns.values()])


def _row(results: Results, column: Column) -> list[str]:
    cells = [f"{column.title} · {column.version}"]
    every: list[Measurement] = []
    for scenario in results.scenarios:
        runs = results.runs.get((scenario.name, column.name), [])
        every += runs
        rate = _rate(results, scenario, column.name)
        cells.append(_number(rate))
        cells += [_ratio(rate, results, scenario, BASELINE), _ratio(rate, results, scenario, RIVAL)]
        if not scenario.latency_ms:
            cells.append(_number(_median(run.cpu_per_1000 for run in runs)))
    cells.append(_number(_median(run.first_request for run in every), " s"))
    cells.append(_number(_median(run.max_rss for run in every), " MB"))
    return cells


def _ratio(rate: float | None, results: Results, scenario: Scenario, against: str) -> str:
    base = _rate(results, scenario, against)
    return "–" if rate is None or not base else f"{rate / base:.2f}"


def _sizes(results: Results) -> str:
    if not results.sizes:
        return ""
    rows = []
    before: tuple[str, int, float] | None = None
    for (name, size), runs in results.sizes.items():
        cpu = median(run.cpu for run in runs)
        further = ""
        if before and before[0] == name:
            further = _number((cpu - before[2]) / (size - before[1]) * 1000)
        before = (name, size, cpu)
        rate = median(run.rows_per_second for run in runs)
        memory = median(run.max_rss for run in runs)
        cells = [results.columns[name].title, f"{size:,}", _number(rate), _number(cpu / size * 1000)]
        rows.append([*cells, further, _number(memory, " MB")])
    heads = [
        "",
        "rows",
        "rows/s",
        "CPU s per 1,000 rows",
        "… of the additional rows",
        "peak memory",
    ]
    return "Cost over size, at 0 ms:\n\n" + table(heads, rows)


def _small(results: Results) -> str:
    lines = []
    if results.help_seconds:
        lines.append(f"`penstock --help`: {median(results.help_seconds):.2f} s.")
    disks = [
        run.disk for (name, _), runs in results.sizes.items() if name == OURS for run in runs if run.disk
    ]
    if disks:
        last = disks[-1]
        beyond = last["database"] - last["own_text"]
        lines.append(
            f"On disk per record: {last['database']:,.0f} bytes in the database, of which "
            f"{last['own_text']:,.0f} are the record's own text (seed, prompt, two answers) and "
            f"{beyond:,.0f} are additional; {last['output']:,.0f} more in the output file."
        )
    return "\n".join(lines)


def _targets(results: Results) -> str:
    if OURS not in results.columns:
        return ""
    rows: list[list[str]] = []

    def add(
        what: str, sign: str, target: float, got: float | None, unit: str = "", best: float | None = None
    ) -> None:
        if got is not None:
            met = got >= target if sign == "≥" else got <= target
            bound = f" (at most {best:.2f} is possible)" if best is not None else ""
            rows.append([what, f"{sign} {target:g}{unit}", f"{got:.2f}{unit}{bound}", "yes" if met else "no"])

    for scenario in (one for one in results.scenarios if not one.https):
        ours = _rate(results, scenario, OURS)
        for against, target in ((BASELINE, BASELINE_SHARES[scenario.latency_ms]), (RIVAL, 4.0)):
            base = _rate(results, scenario, against)
            if not ours or not base:
                continue
            what = f"rows/s at {scenario.name}, over {'Curator' if against == RIVAL else 'the baseline'}"
            add(what, "≥", target, ours / base, best=scenario.ideal and scenario.ideal / base)
    sizes = {size: runs for (name, size), runs in results.sizes.items() if name == OURS}
    every = [run for (_, name), runs in results.runs.items() if name == OURS for run in runs]
    if len(sizes) > 1:
        costs = [median(run.cpu_per_1000 for run in runs) for _, runs in sorted(sizes.items())]
        add("CPU per row with the most rows, over that with the fewest", "≤", 1.1, costs[-1] / costs[0])
    everything = every + [run for runs in sizes.values() for run in runs]
    add("largest peak memory", "≤", 200, max((run.max_rss for run in everything), default=None), " MB")
    add("first request after start", "≤", 1.2, _median(run.first_request for run in everything), " s")
    add("`penstock --help`", "≤", 0.3, _median(results.help_seconds), " s")
    beyond = _median((d["database"] - d["own_text"]) / 1024 for run in everything if (d := run.disk))
    add("on disk per record in addition to its own text", "≤", 3, beyond, " KB")
    note = " (a quick run, with too few rows for a conclusion)" if results.quick else ""
    return f"Targets of penstock{note}:\n\n" + table(["", "target", "measured", "met"], rows)


def _rate(results: Results, scenario: Scenario, name: str) -> float | None:
    return _median(run.rows_per_second for run in results.runs.get((scenario.name, name), []))


def _failures(results: Results) -> str:
    return "Not counted:\n\n" + "\n".join(
        f"- {where}: {reason.splitlines()[-1]}" for where, reason in results.failures.items()
    )


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table: the first column to the left, the others to the right."""
    ruler = ["---", *("---:" for _ in heads[1:])]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (heads, ruler, *rows))


def _median(values: Iterable[float]) -> float | None:
    listed = list(values)
    return median(listed) if listed else None


def _number(value: float | None, unit: str = "") -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}{unit}" if abs(value) >= 20 else f"{value:.2f}{unit}"
