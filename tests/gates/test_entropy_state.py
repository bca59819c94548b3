"""The failures of parts, and the temperatures that follow from them."""

from __future__ import annotations

from penstock.gates import (
    FileEntropyState,
    PartEntropyState,
    Ramp,
)


def test_the_failures_of_each_part_are_counted_separately() -> None:
    state = PartEntropyState(Ramp(0.0, 0.1))

    state.add_failure("a.py")
    state.add_failure("a.py")
    state.add_failure("b.py")

    assert state.failures == {"a.py": 2, "b.py": 1}
    assert [state.temperature(part, 3) for part in ("a.py", "b.py", "c.py")] == [0.2, 0.1, 0.0]
    assert FileEntropyState is PartEntropyState


def test_a_part_that_is_both_wrong_and_disagreed_upon_gets_hotter() -> None:
    state = PartEntropyState()

    state.add_failure("a", disagreement=True)
    cooler = state.temperature("a", 2)
    state.add_failure("a")
    hotter = state.temperature("a", 3)

    assert (cooler, hotter) == (0.1275, 0.05)
