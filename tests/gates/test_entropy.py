"""The temperatures of the policies, and how the policies are written."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from penstock.errors import DefinitionError
from penstock.gates import (
    Decay,
    EntropyPolicy,
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


def test_a_schedule_has_one_temperature_per_attempt_and_repeats_the_last() -> None:
    schedule = Schedule((0.0, 0.3, 1.0))

    assert [schedule.temperature(1, attempt) for attempt in range(1, 6)] == [0.0, 0.3, 1.0, 1.0, 1.0]


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
    ("config", "message"),
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
def test_an_invalid_policy_is_refused_with_what_to_write(config: Any, message: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        EntropyPolicy.from_config(config)

    assert message in caught.value.message
    assert len(caught.value.message) < 200


@pytest.mark.parametrize("policy", [Ramp(0.1), Decay(), Schedule((0.4,))])
def test_a_policy_made_in_python_is_used_unchanged(policy: EntropyPolicy) -> None:
    assert EntropyPolicy.from_config(policy) is policy


@pytest.mark.parametrize(
    ("policy", "name"), [(Ramp(), "step"), (Decay(), "factor"), (Schedule((0.4,)), "temperatures")]
)
def test_a_policy_cannot_be_changed_because_records_share_it(policy: EntropyPolicy, name: str) -> None:
    with pytest.raises(FrozenInstanceError):
        setattr(policy, name, 0.9)


def test_temperatures_at_the_limits_are_allowed() -> None:
    assert Ramp(0, 0, 0).temperature(3, 4) == 0
    assert Ramp(2, 2, 2).temperature(3, 4) == 2
    assert Decay(2, 1).temperature(3, 4) == 2
    assert len(Schedule((2,) * 100).temperatures) == 100


def test_a_long_value_is_shortened_in_the_message() -> None:
    with pytest.raises(DefinitionError) as raised:
        EntropyPolicy.from_config({"kind": "x" * 100})

    assert raised.value.message == f"entropy has no kind '{'x' * 58}…; write kind: decay, ramp, schedule"
    assert raised.value.detail == {"key": "entropy.kind", "kinds": ["decay", "ramp", "schedule"]}
