"""Settings that fit, and the sentences about those that do not."""

from __future__ import annotations

from typing import Any

import pytest

from discovery.probe import Probe, Shade
from penstock.discovery import check_config, extract_config_schema, find_config_issues
from penstock.errors import DefinitionError


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
