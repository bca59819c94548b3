"""Settings that fit, and the sentences about those that do not."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import pytest

from discovery.probe import Probe, Shade
from penstock.discovery import check_config, extract_config_schema, find_config_issues
from penstock.errors import DefinitionError


def nest(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def test_any_setting_is_accepted_by_an_init_with_kwargs() -> None:
    class Open:
        def __init__(self, known: int = 1, *args: Any, **others: Any) -> None: ...

    check_config(Open, {"known": 2, "something": "else"})

    assert list(extract_config_schema(Open)["properties"]) == ["known"]


@pytest.mark.parametrize(
    "config",
    [
        {"number": 1, "count": 3.0},
        {"number": 1.5, "count": 3, "text": "x", "flag": True, "table": None, "names": ["a"]},
        {"number": 1, "count": 1, "words": "one phrase"},
        {"number": 1, "count": 1, "words": ["a", "b"], "rows": [[1], []], "amounts": {"a": 1}},
        {"number": 1, "count": 1, "shade": "light", "literal": "b", "chosen": "two", "anything": object()},
        {"number": 1, "count": 1, "shade": Shade.LIGHT},
    ],
)
def test_valid_settings_have_no_issues(config: dict[str, Any]) -> None:
    assert find_config_issues(Probe, config) == []


@pytest.mark.row("A72", "A73")
@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"txt": "x"}, "Block 'Probe' has no setting 'txt'; did you mean 'text'?"),
        ({"count": 1}, "Block 'Probe' needs the setting 'number'; add 'number' to its config"),
        ({"number": "hot"}, "Block 'Probe': 'number' must be a number, not 'hot'"),
        ({"number": None}, "Block 'Probe': 'number' must be a number, not null"),
        ({"number": True}, "Block 'Probe': 'number' must be a number, not true"),
        ({"count": 1.5}, "Block 'Probe': 'count' must be a whole number, not 1.5"),
        ({"flag": "yes"}, "Block 'Probe': 'flag' must be true or false, not 'yes'"),
        ({"text": ["a"]}, "Block 'Probe': 'text' must be text, not [\"a\"]"),
        ({"names": "a"}, "Block 'Probe': 'names' must be a list of texts, not 'a'"),
        ({"names": [1]}, "Block 'Probe': 'names' must be a list of texts, not [1]"),
        ({"table": "{}"}, "Block 'Probe': 'table' must be a mapping, not '{}'"),
        ({"amounts": {"a": "b"}}, "Block 'Probe': 'amounts' must be a mapping, not {\"a\": \"b\"}"),
        ({"words": 5}, "Block 'Probe': 'words' must be a list of texts or text, not 5"),
        ({"chosen": "three"}, "Block 'Probe': 'chosen' must be one of 'one', 'two', not 'three'"),
        ({"literal": ["a"]}, "Block 'Probe': 'literal' must be one of 'a', 'b', not [\"a\"]"),
        ({"shade": None}, "Block 'Probe': 'shade' must be one of 'dark', 'light', not null"),
        (["number"], "Block 'Probe': config must be a mapping of settings, not [\"number\"]"),
        ({1: 2}, "Block 'Probe' has no setting '1'; it takes 'number', 'count',"),
        ({None: 2}, "Block 'Probe' has no setting 'None'; it takes 'number', 'count',"),
        ({True: 2}, "Block 'Probe' has no setting 'True'; it takes 'number', 'count',"),
        ({(1, 2): 2}, "Block 'Probe' has no setting '(1, 2)'; it takes 'number', 'count',"),
    ],
)
def test_a_wrong_setting_is_named_with_what_to_write(config: Any, sentence: str) -> None:
    with pytest.raises(DefinitionError) as raised:
        check_config(Probe, config)

    assert raised.value.message.startswith(sentence)
    assert raised.value.detail["type"] == "Probe"


def test_all_issues_are_listed_and_begin_with_the_callers_words() -> None:
    issues = find_config_issues(Probe, {"txt": 1, "number": "x", "flag": 1}, "Step 2 (Probe)")

    assert [(issue.kind, issue.key) for issue in issues] == [
        ("unknown", "txt"),
        ("type", "number"),
        ("type", "flag"),
        ("missing", "count"),
    ]
    assert all(issue.message.startswith("Step 2 (Probe)") for issue in issues)


def test_a_long_wrong_value_is_shortened() -> None:
    with pytest.raises(DefinitionError) as raised:
        check_config(Probe, {"number": "x" * 10_000})

    assert len(raised.value.message) < 200


FOLDER = Path()


class Whole:
    def __init__(
        self,
        whole: int = 0,
        amount: float = 0.0,
        path: Path = FOLDER,
        optional: Literal["a", "b"] | None = None,
        level: str | float = "a",
        kinds: list[Literal["a", "b"]] | None = None,
        shades: list[Shade] | None = None,
        table: Mapping[str, list[int]] | None = None,
        items: Sequence[float] = (),
        names: tuple[str, ...] = (),
        chosen: str | None = None,
        when: datetime.date | None = None,
        _private: int = 0,
        model_config: str = "",
        copy: bool = False,
    ) -> None: ...

    config_enums: ClassVar[dict[str, list[Any]]] = {"chosen": ["x", "y"], "level": ["a", 2, 2.5]}


@pytest.mark.parametrize(
    ("name", "values", "wrong_values", "expected"),
    [
        ("whole", [3, -3, 3.0, 2**70, 1e300], [3.5, "3", True, None, math.inf, math.nan], "a whole number"),
        ("amount", [3, 3.5, math.inf, 10**300], ["3", True, None, [1]], "a number"),
        ("path", ["a/b", Path("a/b")], [5, None, b"a"], "text"),
        ("optional", ["a", None], ["c", True, ["a"]], "one of 'a', 'b'"),
        ("level", ["a", 2, 2.0, 2.5], ["2", 3, None], "one of 'a', 2, 2.5"),
        ("kinds", [["a", "b"], [], None], [["c"], "a", [None]], "a list of texts"),
        ("shades", [["dark"], [Shade.LIGHT, "light"]], [["blue"], "dark"], "a list of texts"),
        (
            "table",
            [{}, {"a": [1]}, MappingProxyType({"a": (1, 2.0)})],
            [[], {"a": 1}, {"a": ["b"]}],
            "a mapping",
        ),
        (
            "items",
            [[1, 2.5], (1,), {1}, frozenset({1})],
            [[True], "12", {"a": 1}, iter([1])],
            "a list of numbers",
        ),
        ("names", [["a"], ("a", "b")], ["a", [1]], "a list of texts"),
        ("chosen", ["x", None], ["z", 1, Shade.DARK], "one of 'x', 'y'"),
        ("when", [datetime.date(2024, 5, 6), "2024-05-06", 5], [], ""),
        ("_private", [1], ["1"], "a whole number"),
        ("model_config", ["x"], [1], "text"),
        ("copy", [True], ["yes"], "true or false"),
    ],
)
def test_values_are_judged_as_json_and_not_converted(
    name: str, values: list[Any], wrong_values: list[Any], expected: str
) -> None:
    assert [find_config_issues(Whole, {name: value}) for value in values] == [[]] * len(values)
    for value in wrong_values:
        (issue,) = find_config_issues(Whole, {name: value})
        assert issue.message.startswith(f"Block 'Whole': '{name}' must be {expected}, not ")


def test_a_value_is_passed_on_as_it_was_given() -> None:
    values = iter([1])

    check_config(Whole, {"names": (given := ["a"]), "whole": 3.0})
    assert find_config_issues(Whole, {"items": values})

    assert given == ["a"]
    assert list(values) == [1]


@pytest.mark.parametrize(
    "value", [nest(100_000), {(1, 2): 3}, 10**5000, "x" * 10_000], ids=["deep", "key", "digits", "long"]
)
def test_any_wrong_value_has_a_short_message(value: Any) -> None:
    (issue,) = find_config_issues(Probe, {"number": 1, "count": 1, "flag": value})

    assert issue.message.startswith("Block 'Probe': 'flag' must be true or false, not ")
    assert len(issue.message) < 120
