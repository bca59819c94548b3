"""The log of the service: one line a message, as text or JSON, with secrets masked."""

from __future__ import annotations

import logging
import re
import sys
import traceback
from datetime import UTC, datetime
from textwrap import indent

from penstock.control_characters import escape_controls, escape_json, escape_line
from penstock.redaction import redact, register_secrets
from penstock.serialization import to_json
from penstock.settings import Settings

_TRACE_ID = re.compile(r"^\[([0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12})\] ?")


class LineFormatter(logging.Formatter):
    """``date time [LEVEL] module: [trace_id] message`` (contract A223); a traceback follows below."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s [%(levelname)s] %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's own name
        """The line; line breaks and other control characters in the message are escaped."""
        record.message = escape_line(redact(record.message))
        return super().formatMessage(record)

    def formatException(self, ei: object) -> str:  # noqa: N802 - logging's own name
        """The traceback, with secrets masked; indented, so that no line of it looks like one of the log."""
        text = redact(super().formatException(ei))  # type: ignore[arg-type]  # logging's private alias
        return indent(escape_controls(text), "  ", lambda _: True)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, module, message, and trace_id where the message has one."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        message = record.getMessage()
        entry: dict[str, str] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "module": record.name,
        }
        if match := _TRACE_ID.match(message):
            entry["trace_id"] = match[1]
            message = message[match.end() :]
        entry["message"] = redact(message)
        if record.exc_info and record.exc_info[1] is not None:
            entry["traceback"] = redact("".join(traceback.format_exception(record.exc_info[1])))
        return escape_json(to_json(entry).strip())


def set_up_logging(settings: Settings) -> None:
    """Log to standard error as in ``settings``, replacing what an earlier call set up."""
    register_secrets(*settings.secret_values())
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if settings.log_format == "json" else LineFormatter())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("penstock").setLevel(logging.DEBUG if settings.debug else logging.INFO)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
