"""Characters that databases refuse or change, written as sequences that they keep.

PostgreSQL refuses NUL in text and cannot look into JSON that has it; UTF-8 has no bytes for lone surrogates.
Each such character is stored as U+001A (SUBSTITUTE) and its four hexadecimal digits, on every database, and
is itself again when it is read. So is U+001A.
"""

from __future__ import annotations

import re

_MARK = "\x1a"
_REFUSED = re.compile("[\x00\x1a\ud800-\udfff]")
_ESCAPED = re.compile("\x1a(0000|001a|d[89a-f][0-9a-f]{2})")

_JSON_MARK = "\\u001a"
_JSON_REFUSED = re.compile(
    r"\\u(?P<pair>d[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2})|\\u(?P<code>0000|001a|d[89a-f][0-9a-f]{2})|\\.",
    re.IGNORECASE,
)
"""All escapes of JSON, so that what follows an escaped backslash is not taken for one."""
_JSON_ESCAPED = re.compile(r"\\u001a(?P<code>0000|001a|d[89a-f][0-9a-f]{2})|\\.", re.IGNORECASE)


def escape_text(text: str) -> str:
    """The text as every database keeps it."""
    return _REFUSED.sub(lambda match: f"{_MARK}{ord(match[0]):04x}", text)


def unescape_text(text: str) -> str:
    """The text that ``escape_text`` was given."""
    if _MARK not in text:
        return text
    return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), text)


def escape_json(text: str) -> str:
    """JSON text whose strings every database can read."""
    if "\\u" not in text:
        return text
    return _JSON_REFUSED.sub(
        lambda match: f"{_JSON_MARK}{match['code'].lower()}" if match["code"] else match[0], text
    )


def unescape_json(text: str) -> str:
    """The JSON text that ``escape_json`` was given."""
    if _JSON_MARK not in text:
        return text
    return _JSON_ESCAPED.sub(lambda match: f"\\u{match['code']}" if match["code"] else match[0], text)


def escape_nul(text: str, *, is_json: bool) -> str:
    """Text that an earlier version stored on SQLite, as PostgreSQL takes it; nothing else is changed."""
    text = text.replace("\x00", f"{_MARK}0000")
    if not is_json or "\\u0000" not in text:
        return text
    return _JSON_REFUSED.sub(lambda match: f"{_JSON_MARK}0000" if match["code"] == "0000" else match[0], text)
