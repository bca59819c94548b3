r"""Control characters of other people's text, shown as ``\x1b`` wherever penstock prints or logs.

A terminal obeys them: they set its title, clear it, recolour it, or reverse the order of what is read. Text
that is printed, logged or put into an error's message goes through here; data in files is not changed.
"""

from __future__ import annotations

import re
from typing import Final

_OTHER = "\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff"
"""DEL, C1 controls, line separators, overrides of the direction of text, and halves of surrogate pairs."""
_IN_TEXT: Final = re.compile(f"[\x00-\x08\x0b-\x1f{_OTHER}]")
_IN_A_LINE: Final = re.compile(f"[\x00-\x1f{_OTHER}]")
_IN_JSON: Final = re.compile(f"[{_OTHER}]")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def escape_controls(text: str) -> str:
    """``text`` with its control characters escaped, but for line breaks and tabs."""
    return _IN_TEXT.sub(_escape, text)


def escape_line(text: str) -> str:
    """The same for text that must stay one line: line breaks and tabs are escaped as well."""
    return _IN_A_LINE.sub(lambda match: _SHORT.get(match[0]) or _escape(match), text)


def escape_json(text: str) -> str:
    """JSON of the same value, in which no raw control character is left."""
    return _IN_JSON.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
