"""Temperatures: how they are earned, and how they are written."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.errors import DefinitionError
from penstock.gates import (
    Decay,
    EntropyPolicy,
    FileEntropyState,
    HealPolicy,
    PartEntropyState,
    Ramp,
    Schedule,
)


def test_a_ramp_gets_hotter_with_each_failure_up_to_its_ceiling() -> None:
    ramp = Ramp(start=0.0, step=0.05, ceiling=0.3)

    earned = [ramp.temperature(failures, 99) for failures in range(9)]

    assert earned == [0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.3, 0.3]


def test_a_decay_gets_cooler_with_each_failure() -> None:
    earned = [Decay(0.15, 0.85).temperature(failures, 99) for failures in range(4)]

    assert earned == pytest.approx([0.15, 0.1275, 0.108375, 0.092119])


def test_a_schedule_goes_by_attempts_and_repeats_its_last_temperature() -> None:
    schedule = Schedule((0.0, 0.3, 1.0))

    assert [schedule.temperature(1, attempt) for attempt in range(1, 6)] == [0.0, 0.3, 1.0, 1.0, 1.0]


def test_only_a_policy_with_a_start_of_its_own_speaks_of_the_first_making() -> None:
    policies = [None, Ramp(), Decay(), Ramp(0.0), Decay(0.2), Schedule((0.4, 0.6))]

    assert [HealPolicy(entropy=policy).first_temperature() for policy in policies] == [
        None,
        None,
        None,
        0.0,
        0.2,
        0.4,
    ]


@pytest.mark.parametrize(
    ("config", "policy"),
    [
        ({"kind": "ramp"}, Ramp()),
        ({"kind": "ramp", "start": 0, "step": 0.1, "ceiling": 1}, Ramp(0.0, 0.1, 1.0)),
        ({"kind": "decay", "start": 0.15}, Decay(0.15)),
        ({"kind": "schedule", "temperatures": [0, 0.3]}, Schedule((0.0, 0.3))),
    ],
)
def test_a_policy_is_written_as_a_mapping(config: dict[str, Any], policy: EntropyPolicy) -> None:
    assert EntropyPolicy.from_config(config) == policy


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ("ramp", "entropy must be a mapping"),
        (None, "entropy must be a mapping"),
        ({}, "write kind: decay, ramp, schedule"),
        ({"kind": "rmap"}, "no kind 'rmap'"),
        ({"kind": ["ramp"]}, "no kind"),
        ({"kind": "ramp", "stp": 0.1}, "no setting 'stp'; it takes start, step, ceiling"),
        ({"kind": "ramp", 5: 0.1}, "no setting 5"),
        ({"kind": "ramp", "step": -0.1}, "step is -0.1; write a temperature between 0 and 2"),
        ({"kind": "ramp", "start": "hot"}, "start is 'hot'"),
        ({"kind": "ramp", "start": True}, "start is True"),
        ({"kind": "ramp", "start": 0.5, "ceiling": 0.4}, "a temperature not below start"),
        ({"kind": "ramp", "ceiling": float("nan")}, "ceiling is nan"),
        ({"kind": "ramp", "step": None}, "step is None"),
        ({"kind": "decay", "factor": 0}, "factor is 0"),
        ({"kind": "decay", "factor": 1.5}, "factor is 1.5"),
        ({"kind": "schedule"}, "a list of 1 to 100 temperatures"),
        ({"kind": "schedule", "temperatures": []}, "a list of 1 to 100 temperatures"),
        ({"kind": "schedule", "temperatures": "0.1"}, "a list of 1 to 100 temperatures"),
        ({"kind": "schedule", "temperatures": [0.1, 3]}, "temperatures is 3"),
        ({"kind": "schedule", "temperatures": [0.1] * 101}, "a list of 1 to 100 temperatures"),
    ],
)
def test_an_impossible_policy_is_refused_with_what_to_write(config: Any, says: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        EntropyPolicy.from_config(config)

    assert says in caught.value.message
    assert len(caught.value.message) < 200


def test_a_heal_policy_is_written_as_a_mapping() -> None:
    policy = HealPolicy.from_config({"max_attempts": 6, "entropy": {"kind": "decay"}, "stop_on_repeat": True})

    assert policy == HealPolicy(6, Decay(), True)
    assert HealPolicy.from_config({}) == HealPolicy(4, None, False)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ([], "heal must be a mapping"),
        (True, "heal must be a mapping"),
        ({"attempts": 3}, "no setting 'attempts'; it takes max_attempts, entropy, stop_on_repeat"),
        ({"max_attempts": 0}, "max_attempts is 0; write a whole number"),
        ({"max_attempts": 1.5}, "max_attempts is 1.5"),
        ({"max_attempts": True}, "max_attempts is True"),
        ({"max_attempts": 10**9}, "from 1 to 100"),
        ({"stop_on_repeat": "yes"}, "write true or false"),
        ({"entropy": {"kind": "cold"}}, "no kind 'cold'"),
    ],
)
def test_an_impossible_heal_policy_is_refused_with_what_to_write(config: Any, says: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        HealPolicy.from_config(config)

    assert says in caught.value.message


def test_parts_are_counted_each_on_its_own() -> None:
    state = PartEntropyState(Ramp(0.0, 0.1))

    state.add_failure("a.py")
    state.add_failure("a.py")
    state.add_failure("b.py")

    assert state.failures == {"a.py": 2, "b.py": 1}
    assert [state.temperature(part, 3) for part in ("a.py", "b.py", "c.py")] == [0.2, 0.1, 0.0]
    assert FileEntropyState is PartEntropyState


def test_of_a_part_that_is_wrong_and_disagreed_upon_the_wrongness_counts() -> None:
    state = PartEntropyState()

    state.add_failure("a", disagreement=True)
    cooler = state.temperature("a", 2)
    state.add_failure("a")
    hotter = state.temperature("a", 3)

    assert (cooler, hotter) == (0.1275, 0.05)
