"""Checks that code is valid Python."""

from __future__ import annotations

import ast
import warnings

from penstock.entities import Parts, Verdict
from penstock.gates.json_answers import strip_fence
from penstock.gates.messages import shorten
from penstock.gates.part_gate import BaseTextGate

_MAX_CODE = 200_000


class PythonSyntaxGate(BaseTextGate):
    """A text must be Python that parses; one code fence around it is allowed. Nothing is executed."""

    name = "Python syntax"
    description = "The part is Python code that parses."

    def look_at_text(self, text: str, parts: Parts) -> Verdict:
        """The verdict, with the line at which the parser stopped."""
        if len(text) > _MAX_CODE:
            return self.reject(parts, f"the code is too long: {len(text):,} characters of {_MAX_CODE:,}")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # such as an invalid escape, which Python accepts
                ast.parse(strip_fence(text))
        except SyntaxError as error:
            line = shorten(error.text or "", 80)
            shown = f": {line}" if line else ""
            return self.reject(parts, f"line {error.lineno or 1}: {error.msg}{shown}", expected="Python")
        except (RecursionError, MemoryError):
            return self.reject(parts, "the code is nested too deeply to be parsed", expected="Python")
        except ValueError:  # null characters, lone surrogates
            return self.reject(parts, "the code contains characters that are not text", expected="Python")
        return self.verdict()
