"""Hold code to Python's grammar."""

from __future__ import annotations

import ast
import warnings

from penstock.entities import Parts, Verdict
from penstock.gates.part_gate import BaseTextGate, shorten, strip_fence

_MAX_CODE = 200_000


class PythonSyntaxGate(BaseTextGate):
    """A text must be Python that parses; one code fence around it is no fault. Nothing is executed."""

    name = "Python syntax"
    description = "The part is Python code that parses."

    def look_at_text(self, text: str, parts: Parts) -> Verdict:
        """The verdict, with the line at which the parser stopped."""
        if len(text) > _MAX_CODE:
            return self.fault(parts, f"the code is too long: {len(text):,} characters of {_MAX_CODE:,}")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # an odd escape in the model's code is not our user's news
                ast.parse(strip_fence(text))
        except SyntaxError as error:
            line = shorten(error.text or "", 80)
            shown = f": {line}" if line else ""
            return self.fault(parts, f"line {error.lineno or 1}: {error.msg}{shown}", expected="Python")
        except (RecursionError, MemoryError):
            return self.fault(parts, "the code is nested too deeply to be read", expected="Python")
        except ValueError:  # null characters, lone surrogates
            return self.fault(parts, "the code holds characters that are no text", expected="Python")
        return self.verdict()
