"""Checks that an answer is a quotation from its source."""

from __future__ import annotations

from typing import ClassVar

from penstock.entities import Parts, Verdict
from penstock.gates.messages import shorten
from penstock.gates.part_gate import BaseTextGate, LongTextGate, read_source
from penstock.gates.parts import find_part
from penstock.gates.text_matching import contains_words, normalize, split_words


class QuoteGate(LongTextGate, BaseTextGate):
    """A text must occur in its source as whole words, and be only a share of it.

    Case and white space may differ, unless ``exact``. ``not_in`` names a part that must not contain the text:
    a question that contains its answer is too easy.
    """

    name = "Quote"
    description = "The part is a literal quotation from a field of the state."
    field_references: ClassVar[list[str]] = ["source"]
    part_references: ClassVar[list[str]] = ["part", "blame", "not_in"]
    config_descriptions: ClassVar[dict[str, str]] = {
        "source": "Field with the text to quote from.",
        "max_share": "The largest share of the source's words that the quotation may have, from 0 to 1.",
        "not_in": "Part that must not contain the quotation, such as generated.question; empty for none.",
        "exact": "Whether case and white space count.",
    }

    def __init__(
        self,
        source: str,
        part: str | None = None,
        max_share: float = 0.5,
        not_in: str | None = None,
        exact: bool = False,
        blame: str | list[str] | None = None,
    ) -> None:
        super().__init__(part, blame)
        if not source:
            raise self.setting_error("source", "is empty; name the field with the text to quote from")
        if not 0 < max_share <= 1:
            raise self.setting_error("max_share", f"is {max_share}; write a number above 0 and up to 1")
        self.source = source
        self.max_share = max_share
        self.not_in = not_in or None
        self.exact = exact

    def look_at_text(self, text: str, parts: Parts) -> Verdict:
        """The verdict; raises GateError when the state has no source."""
        source = read_source(parts, self.source, self)
        label, source_name = self.label(parts), shorten(self.source.rpartition(".")[2], 60)
        quote = normalize(text, exact=self.exact)
        if not quote:
            return self.reject(parts, f"the {label} is empty", expected=f"words of the {source_name}")
        if not contains_words(normalize(source, exact=self.exact), quote):
            message = f"the {label} does not occur in the {source_name}; copy it from there word for word"
            return self.reject(parts, message, got=text)
        quoted, available = len(split_words(text)), len(split_words(source))
        if quoted > self.max_share * available:
            message = (
                f"the {label} is too much of the {source_name}: {quoted} of {available} words; "
                "give only what is asked"
            )
            return self.reject(parts, message, expected=f"at most {self.max_share:g}", got=text)
        return self._look_in_other_part(quote, text, label, parts)

    def _look_in_other_part(self, quote: str, text: str, label: str, parts: Parts) -> Verdict:
        other = find_part(parts.state, self.not_in) if self.not_in else None
        if not isinstance(other, str) or not contains_words(normalize(other, exact=self.exact), quote):
            return self.verdict()
        other_name = shorten((self.not_in or "").rpartition(".")[2], 60)
        return self.reject(parts, f"the {label} is already in the {other_name}", got=text)
