"""Control characters of other people's text are shown escaped."""

from __future__ import annotations

import json
import logging
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.api.logging import JsonFormatter, LineFormatter
from penstock.control_characters import escape_controls, escape_json, escape_line
from penstock.errors import PipelineError

HOSTILE = [
    ("\x1b]0;PWNED\x07\x1b[2J", r"\x1b]0;PWNED\x07\x1b[2J"),
    ("a\x00b\x08c\x7fd\r", r"a\x00b\x08c\x7fd\x0d"),
    ("\x9b31mred\x9d0;T\x9c\x85", r"\x9b31mred\x9d0;T\x9c\x85"),
    ("user\u202egnp.exe\u202c \u2066x\u2069", r"user\u202egnp.exe\u202c \u2066x\u2069"),
    ("half \ud83d \udc80", r"half \ud83d \udc80"),
    ("one\u2028two\u2029three", r"one\u2028two\u2029three"),
]
ORDINARY = "tab\tand\nline, naïve Ω → 日本語 עברית العربية 👩\u200d💻 \\x1b {{ x }} \u00a0"


@pytest.mark.parametrize(("text", "shown"), HOSTILE)
def test_controls_are_shown_and_not_obeyed(text: str, shown: str) -> None:
    assert escape_controls(text) == shown
    assert PipelineError(f"The server says: {text}").message == f"The server says: {shown}"
    assert str(PipelineError(text)) == shown


def test_line_breaks_tabs_and_letters_of_all_languages_stay() -> None:
    assert escape_controls(ORDINARY) == ORDINARY
    assert escape_line("a\tb\nc\rd") == r"a\tb\nc\rd"


def _record(message: str) -> logging.LogRecord:
    record = logging.LogRecord("penstock.api", logging.ERROR, __file__, 1, "%s", (message,), None)
    try:
        raise ValueError(f"{message}\n2026-01-01 00:00:00 [ERROR] forged: x")
    except ValueError:
        record.exc_info = sys.exc_info()
    return record


@pytest.mark.parametrize(("text", "shown"), HOSTILE)
def test_the_log_has_no_raw_controls(text: str, shown: str) -> None:
    lines = LineFormatter().format(_record(text)).split("\n")

    assert shown.replace("\\x0d", "\\r") in lines[0]
    assert all(line.startswith("  ") for line in lines[1:])
    assert escape_controls("\n".join(lines)) == "\n".join(lines)


@pytest.mark.parametrize(("text", "_"), HOSTILE)
def test_a_json_log_stays_json_of_the_same_text(text: str, _: str) -> None:
    line = JsonFormatter().format(_record(text))

    assert json.loads(line)["message"] == text
    assert escape_line(line) == line


@given(st.text(), st.dictionaries(st.text(), st.text()))
def test_nothing_is_escaped_twice_and_json_keeps_its_value(text: str, value: dict[str, str]) -> None:
    once = escape_controls(text)
    raw = json.dumps(value, ensure_ascii=False)

    assert escape_controls(once) == once
    assert json.loads(escape_json(raw)) == value
