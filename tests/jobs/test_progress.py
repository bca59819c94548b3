"""Progress: what a job's counters say, and what its row gets."""

from __future__ import annotations

import time

import pytest

from penstock.entities import ExecutionResult, Usage
from penstock.errors import BlockExecutionError
from penstock.jobs.progress import Progress, StepCount
from penstock.workflow import StepEvent

ACCEPTED = ExecutionResult({}, [{}, {}], "trace")
BROKEN = ExecutionResult({}, [{}, {}], "trace", error=BlockExecutionError("no"))
REFUSED = ExecutionResult({}, [{}], "trace", error=BlockExecutionError("no", {"findings": []}))


def counted(*results: ExecutionResult, total: int | None = 10, share: float = 1.0) -> Progress:
    """The progress of a job of two steps after these records."""
    progress = Progress(total=total)
    progress.prepare_steps(["First", "Second"])
    for result in results:
        progress.count_record(result, share, retried=False)
    return progress


def test_records_are_counted_as_generated_failed_or_refused() -> None:
    progress = counted(ACCEPTED, ACCEPTED, BROKEN, REFUSED)

    assert (progress.generated, progress.failed, progress.refused) == (2, 2, 1)
    assert (progress.made, progress.records, progress.seeds_done) == (4, 4, 4.0)


def test_a_failure_is_counted_at_the_last_step_of_its_trace() -> None:
    progress = counted(ACCEPTED, BROKEN, BROKEN, REFUSED)

    assert [step.failed for step in progress.steps] == [1, 2]


def test_a_failure_without_a_trace_is_counted_at_the_first_step() -> None:
    progress = counted(ExecutionResult({}, [], "trace", error=BlockExecutionError("no")))

    assert [step.failed for step in progress.steps] == [1, 0]


@pytest.mark.row("D16")
@pytest.mark.parametrize(("result", "counts"), [(ACCEPTED, (1, 1)), (BROKEN, (0, 2))])
def test_a_retried_record_replaces_a_failed_one(result: ExecutionResult, counts: tuple[int, int]) -> None:
    progress = counted(BROKEN, BROKEN)

    progress.count_record(result, 1.0, retried=True)

    assert (progress.generated, progress.failed) == counts


def test_steps_are_counted_as_they_start_and_finish() -> None:
    progress = counted()

    progress.count_step(StepEvent("started", 1, 2, "First"))
    progress.count_step(StepEvent("finished", 1, 2, "First"))
    progress.count_step(StepEvent("started", 2, 2, "Second"))

    assert progress.steps == [StepCount("First", 1, 1), StepCount("Second", 1, 0)]
    assert (progress.current_block, progress.current_step) == ("Second", "Block 2/2")


def test_counts_of_an_earlier_run_are_kept_if_the_steps_are_the_same() -> None:
    earlier = [StepCount("First", 5, 5), StepCount("Second", 5, 4, 1)]

    same, other = Progress(steps=list(earlier)), Progress(steps=list(earlier))
    same.prepare_steps(["First", "Second"])
    other.prepare_steps(["Only"])

    assert same.steps == earlier
    assert other.steps == [StepCount("Only")]


def test_the_fraction_is_that_of_the_seeds() -> None:
    assert counted(ACCEPTED, total=4).fraction == 0.25
    assert counted(ACCEPTED, total=4, share=0.5).fraction == 0.125
    assert counted(ACCEPTED, ACCEPTED, total=1).fraction == 1.0


def test_the_fraction_of_an_unknown_total_is_0_and_of_nothing_to_do_1() -> None:
    assert counted(ACCEPTED, total=None).fraction == 0.0
    assert counted(total=0).fraction == 1.0


def test_the_rate_and_the_time_left_come_from_the_records_of_this_run() -> None:
    progress = Progress(total=10, generated=4, seeds_done=6.0, made=2, started=time.monotonic() - 4)

    assert progress.rate == pytest.approx(0.5, rel=0.2)
    assert progress.seconds_left == pytest.approx(8.0, rel=0.2)


@pytest.mark.parametrize("progress", [Progress(total=None, made=3), Progress(total=5), Progress(total=0)])
def test_without_a_total_or_a_record_no_time_is_estimated(progress: Progress) -> None:
    assert progress.seconds_left is None


def test_the_time_left_is_never_negative() -> None:
    progress = Progress(total=1, seeds_done=2.0, made=2, started=time.monotonic() - 1)

    assert progress.seconds_left == 0.0


@pytest.mark.row("A42", "A171")
def test_the_row_has_the_counters_the_usage_and_the_seconds() -> None:
    progress = counted(ACCEPTED, BROKEN, total=4)
    progress.usage = Usage(input_tokens=7, output_tokens=3, llm_calls=1)
    progress.count_step(StepEvent("started", 2, 2, "Second"))

    fields = progress.to_job_fields(1.23456, completed=False)

    assert (fields["records_generated"], fields["records_failed"]) == (1, 1)
    assert (fields["current_seed"], fields["progress"]) == (2, 0.5)
    assert (fields["current_block"], fields["current_step"]) == ("Second", "Block 2/2")
    assert fields["usage"]["total_tokens"] == 10
    assert fields["usage"]["execution_time"] == 1.235
    assert fields["usage"]["steps"] == [["First", 0, 0], ["Second", 0, 1]]


def test_only_a_completed_job_has_a_progress_of_1() -> None:
    progress = counted(ACCEPTED, total=1)

    assert progress.to_job_fields(0, completed=False)["progress"] == 0.9999
    assert progress.to_job_fields(0, completed=True)["progress"] == 1.0


def test_thirds_of_a_seed_add_up_to_a_whole_one() -> None:
    progress = counted(ACCEPTED, ACCEPTED, ACCEPTED, total=2, share=1 / 3)

    assert progress.to_job_fields(0, completed=False)["current_seed"] == 1


def test_two_thirds_of_a_seed_are_not_a_whole_one() -> None:
    progress = counted(ACCEPTED, ACCEPTED, total=2, share=1 / 3)

    assert progress.to_job_fields(0, completed=False)["current_seed"] == 0
