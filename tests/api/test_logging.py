"""The log has one line a message, with secrets masked."""

from __future__ import annotations

import logging
import re
import uuid

import orjson
import pytest
from pydantic import SecretStr

from penstock.api.logging import JsonFormatter, LineFormatter
from penstock.redaction import redact, register_secrets
from penstock.settings import Settings


def _record(message: str, *args: object, level: int = logging.DEBUG) -> logging.LogRecord:
    return logging.LogRecord("penstock.workflow", level, __file__, 1, message, args, None)


@pytest.mark.row("A223")
def test_a_line_has_date_time_level_module_and_trace_id() -> None:
    trace_id = str(uuid.uuid4())

    line = LineFormatter().format(_record("[%s] %s completed in %.3fs", trace_id, "TextGenerator", 3.1239))

    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\S* \[DEBUG\] penstock\.workflow: "
        rf"\[{trace_id}\] TextGenerator completed in 3\.124s",
        line,
    )


def test_a_json_line_has_a_field_for_the_trace_id() -> None:
    trace_id = str(uuid.uuid4())

    line = orjson.loads(JsonFormatter().format(_record(f"[{trace_id}] step 2: no", level=logging.ERROR)))

    assert line["trace_id"] == trace_id
    assert (line["level"], line["module"], line["message"]) == ("ERROR", "penstock.workflow", "step 2: no")
    assert line["time"].endswith("+00:00")


def test_a_message_cannot_forge_a_log_line() -> None:
    line = LineFormatter().format(_record("bad\n2026-01-01 00:00:00 [ERROR] forged: x\r"))

    assert "\n" not in line
    assert "\r" not in line


def test_secrets_of_the_settings_and_texts_of_their_shape_are_masked() -> None:
    settings = Settings(llm_api_key=SecretStr("hunter2-hunter2"), api_token=SecretStr("swordfish"))
    register_secrets(*settings.secret_values())

    masked = redact(
        "hunter2-hunter2 swordfish sk-proj-abcdefghijklmnop Bearer abc.def-123456 postgresql://me:pw@host/db"
    )

    assert masked == "*** *** *** Bearer *** postgresql://***@host/db"


def test_secrets_in_a_traceback_are_masked() -> None:
    register_secrets("hunter2-hunter2")
    record = _record("it broke")
    try:
        raise ValueError("key hunter2-hunter2")
    except ValueError as error:
        record.exc_info = (ValueError, error, error.__traceback__)

    lines = [formatter.format(record) for formatter in (LineFormatter(), JsonFormatter())]

    assert all("ValueError" in line and "hunter2" not in line for line in lines)
