"""What the words of a provider's refusal mean; statuses alone do not tell, and providers differ."""

from __future__ import annotations

import re

_SPENT = re.compile(
    r"insufficient[ _](?:\w+[ _])?(?:quota|balance|credits?|funds?)|credit balance|(?:out of|no) credits"
    r"|not enough (?:\w+ )?(?:credits?|balance|funds)|balance (?:is )?(?:too low|not enough|insufficient)"
    r"|budget[ _](?:has been )?exceeded|spending limit|payment required|in arrears|overdue payment"
    r"|account (?:\w+ ){0,3}(?:deactivated|suspended|disabled|blocked)"
)
"""There is no money for any further request."""
_KEY = re.compile(
    r"(?:incorrect|invalid|missing|unknown|wrong|expired)[ _](?:\w+[ _]){0,2}(?:api[ _-]?key|credentials)"
    r"|api[ _-]?key\b.{0,40}\b(?:not valid|invalid|missing|expired|not found|required|incorrect)"
    r"|unauthori[sz]ed|authentication[ _](?:error|failed|fails)|no (?:auth )?credentials"
)
_MODEL = re.compile(
    r"model[ _]not[ _]found|invalid model name|(?:unknown|no such|unsupported) model\b"
    r"|\bmodel\b.{0,200}\b(?:does not exist|not exist|not found|is not available|was not found|not a valid model)"
)
_FEATURE = re.compile(r"parameter|response_format|json_schema|support")
"""A model that exists, and lacks what was requested of it."""
_MODERATION = re.compile(
    r"moderation|flagged|safety|harm|content[ _-](?:policy|filter|management)|(?:usage|acceptable use) polic"
)
_SHORT_PERIOD = re.compile(r"per[ _-]?(?:minute|second)|\brp[ms]\b|\btp[ms]\b|concurren")
_LONG_PERIOD = re.compile(
    r"per[ _-]?(?:day|week|month)|\b(?:daily|weekly|monthly)\b|\b[rt]p[dw]\b|tomorrow"
    r"|(?:limit|quota|usage)\b.{0,40}\b(?:today|day|week|month)\b"
)
_PLAN = re.compile(
    r"your (?:current )?(?:quota|plan|subscription)|(?:quota|usage limit|plan limit)s?\b.{0,40}\b(?:exceeded|reached"
    r"|used up|exhausted)|(?:exceeded|reached|hit|used up)\b.{0,40}\b(?:quota|usage limit|plan)|billing"
)
_DELAY = re.compile(
    r"(?:(?:try|retry)(?: again)?|wait|resets?)\b[^.;{}]{0,40}?\b(?:in|after|for)?\s?"
    r"(?:(?P<h>\d+)\s?h(?:ours?|rs?)?\s?)?(?:(?P<m>\d+)\s?m(?:in(?:ute)?s?)?(?!s)\s?)?"
    r"(?:(?P<s>\d+(?:\.\d+)?)\s?s(?:ec(?:ond)?s?)?\b)?"
    r"|\"retrydelay\":\s*\"(?P<r>\d+(?:\.\d+)?)s\""
)


def is_about_setup(status: int, words: str) -> bool:
    """Whether a refusal, no 429, would meet every request; ``words`` is its body in lower case."""
    if status in {401, 402, 405, 407} or 300 <= status < 400:
        return True
    if status == 403:
        return not _MODERATION.search(words)
    if status == 404:
        return bool(_MODEL.search(words)) or not _FEATURE.search(words)
    if _SPENT.search(words) or _KEY.search(words):
        return True
    return status < 500 and bool(_MODEL.search(words))


def is_spent(words: str, retry_after: float | None) -> bool:
    """Whether a 429 means that a quota, a plan or the day's requests are used up.

    ``words`` is its body in lower case, ``retry_after`` its header. A limit for each minute passes by waiting,
    whatever else the provider says about plans.
    """
    if _SPENT.search(words):
        return True
    if retry_after is not None:
        return False
    if _LONG_PERIOD.search(words):
        return True
    return not _SHORT_PERIOD.search(words) and read_delay(words) is None and bool(_PLAN.search(words))


def read_delay(words: str) -> float | None:
    """The seconds that a refusal asks to wait in its words, such as ``try again in 1m20s``."""
    for match in _DELAY.finditer(words):
        hours, minutes, seconds, delay = (float(match[name] or 0) for name in ("h", "m", "s", "r"))
        if total := hours * 3600 + minutes * 60 + seconds + delay:
            return total
    return None
