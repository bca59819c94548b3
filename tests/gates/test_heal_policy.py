"""The ``heal`` setting of a step."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from penstock.errors import DefinitionError
from penstock.gates import (
    Decay,
    HealPolicy,
    Ramp,
    Schedule,
)


def test_only_a_policy_with_its_own_start_sets_the_first_temperature() -> None:
    policies = [None, Ramp(), Decay(), Ramp(0.0), Decay(0.2), Schedule((0.4, 0.6))]

    assert [HealPolicy(entropy=policy).first_temperature() for policy in policies] == [
        None,
        None,
        None,
        0.0,
        0.2,
        0.4,
    ]


def test_a_heal_policy_is_written_as_a_mapping() -> None:
    policy = HealPolicy.from_config({"max_attempts": 6, "entropy": {"kind": "decay"}, "stop_on_repeat": True})

    assert policy == HealPolicy(6, Decay(), True)
    assert HealPolicy.from_config({}) == HealPolicy(4, None, False)


@pytest.mark.parametrize(
    ("config", "message"),
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
def test_an_invalid_heal_policy_is_refused_with_what_to_write(config: Any, message: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        HealPolicy.from_config(config)

    assert message in caught.value.message


def test_a_policy_made_in_python_is_used_unchanged() -> None:
    policy = HealPolicy(2, Ramp(0.1), True)

    assert HealPolicy.from_config(policy) is policy
    assert HealPolicy.from_config({"entropy": policy.entropy}).entropy is policy.entropy
    assert HealPolicy.from_config({"entropy": None}).entropy is None


def test_a_policy_cannot_be_changed_because_records_share_it() -> None:
    policy: Any = HealPolicy()

    with pytest.raises(FrozenInstanceError):
        policy.max_attempts = 9


def test_one_and_a_hundred_attempts_are_allowed() -> None:
    assert [HealPolicy(number).max_attempts for number in (1, 100)] == [1, 100]


def test_the_error_names_the_setting() -> None:
    for config, key in (
        ({"max_attempts": 0}, "heal.max_attempts"),
        ({"stop_on_repeat": 1}, "heal.stop_on_repeat"),
    ):
        with pytest.raises(DefinitionError) as raised:
            HealPolicy.from_config(config)

        assert raised.value.detail == {"key": key}
