"""The log of the service: one line a message, as text or JSON, with secrets masked."""

from __future__ import annotations

import logging
import re
import sys
import traceback
from datetime import UTC, datetime

import orjson

from penstock.redaction import redact, register_secrets
from penstock.settings import Settings

_TRACE_ID = re.compile(r"^\[([0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12})\] ?")


class LineFormatter(logging.Formatter):
    """``date time [LEVEL] module: [trace_id] message`` (contract A223); a traceback follows below."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s [%(levelname)s] %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's own name
        """The line; line breaks in the message are escaped, so that no message can forge a line."""
        record.message = redact(record.message).replace("\r", "\\r").replace("\n", "\\n")
        return super().formatMessage(record)

    def formatException(self, ei: object) -> str:  # noqa: N802 - logging's own name
        """The traceback, with secrets masked."""
        return redact(super().formatException(ei))  # type: ignore[arg-type]  # logging's private alias


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
        return orjson.dumps(entry, default=str).decode()


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
