"""The state as a block is given it."""

from __future__ import annotations

import copy
import pickle

import pytest

from penstock.entities import State

SEED = {"topic": "tides"}


def test_a_state_is_a_dict_that_knows_its_seed() -> None:
    state = State({"topic": "rendered"}, SEED)

    assert state == {"topic": "rendered"}
    assert state.seed is SEED


@pytest.mark.parametrize("how", ["copy", "merge", "copy.copy", "deepcopy", "pickle"])
def test_a_copy_of_a_state_keeps_the_seed(how: str) -> None:
    state = State({"a": 1}, SEED)

    match how:
        case "copy":
            made = state.copy()
        case "merge":
            made = state | {"a": 1}
        case "copy.copy":
            made = copy.copy(state)
        case "deepcopy":
            made = copy.deepcopy(state)
        case _:
            made = pickle.loads(pickle.dumps(state))

    assert made == state
    assert made is not state
    assert made.seed == SEED


def test_the_operator_refuses_what_a_dict_refuses() -> None:
    with pytest.raises(TypeError):
        State({}, SEED) | 5
