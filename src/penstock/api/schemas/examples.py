"""Values that the examples in the OpenAPI description share."""

from __future__ import annotations

from typing import Any, Final

TIME: Final = "2026-01-31T12:00:00.000000Z"
DEFINITION: Final[Any] = {
    "name": "Explain",
    "blocks": [
        {"type": "TextGenerator", "config": {"user_prompt": "Explain {{ topic }} in one sentence."}},
        {"type": "ValidatorBlock", "config": {"min_length": 20}},
    ],
    "constraints": {"max_total_tokens": 10000},
}
