"""What the words of a provider's refusal mean; statuses alone do not tell, and providers differ."""

from __future__ import annotations

import re
from collections.abc import Collection

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
_TLS = re.compile(
    r"plain http request was sent to (?:an )?https|http request to an https server"
    r"|speaking plain http to an ssl|requires? tls|use the https scheme"
)
_NEVER = frozenset({401, 402, 405, 407, 501, 505, 511})
"""Statuses that say that the server takes no such requests, whatever they are about."""
_MODEL = re.compile(
    r"model[ _]not[ _]found|invalid model name|invalid[ _]model\b|(?:unknown|no such|unsupported) model\b"
    r"|\bmodel\b.{0,200}\b(?:does not exist|not exist|not found|is not available|was not found"
    r"|not a valid model)"
)
_FEATURE = re.compile(r"parameter|response_format|json_schema|support")
"""A model that exists, and lacks what was requested of it."""
_NOT_TAKEN = (
    r"(?:unsupported|not supported|not support|isn't supported|unknown|unrecogni[sz]ed|unexpected"
    r"|extra inputs?|extra_forbidden|not permitted|not allowed|not accept|not available"
    r"|only the default|deprecated"
    r"|cannot be (?:set|used)|can't be (?:set|used)|must not be|not a valid (?:parameter|field|argument)"
    r"|invalid parameter|no longer)"
)
_MODERATION = re.compile(
    r"moderation|flagged|safety|harm|content[ _-](?:policy|filter|management)|(?:usage|acceptable use) polic"
)
_FORMAT = re.compile(
    r"response[ _]?format|json[ _]?schema|json[ _]?object|json[ _]mode|structured[ _-]?outputs?|guided[ _]"
    r"|grammar|output_(?:config|format)|failed to generate json|json_validate_failed"
    r"|no endpoints found that (?:can handle|support)|\binvalid schema\b|\bschema (?:is|must|should|has)\b"
)
_VAGUE = re.compile(
    r"(?:\d{3}:? ?)?(?:(?:the |this |your )?(?:bad|invalid|unsupported|malformed)"
    r" (?:request|input|body|argument)s?|request contains an invalid argument|validation error"
    r"|not supported|no|error|unknown error"
    r"|invalid_request_error|no reason given)?[.! ]*(?:\(.{0,40}\))?"
)
_SHORT_PERIOD = re.compile(r"per[ _-]?(?:minute|second)|\brp[ms]\b|\btp[ms]\b|concurren")
_LONG_PERIOD = re.compile(
    r"per[ _-]?(?:day|week|month)|\b(?:daily|weekly|monthly)\b|\b[rt]p[dw]\b|tomorrow"
    r"|(?:limit|quota|usage)\b.{0,40}\b(?:today|day|week|month)\b"
)
_PLAN = re.compile(
    r"your (?:current )?(?:quota|plan|subscription)|(?:quota|usage limit|plan limit)s?\b.{0,40}\b"
    r"(?:exceeded|reached|used up|exhausted)|(?:exceeded|reached|hit|used up)\b.{0,40}\b(?:quota"
    r"|usage limit|plan)|billing"
)
_DELAY = re.compile(
    r"(?:\b(?:re)?try\b|\bwait\b|\bresets?\b|\"retrydelay\":)[^.;{}0-9]{0,40}"
    r"(?:(\d+)\s?h(?:ours?|rs?)?\s?)?(?:(\d+)\s?m(?:in(?:ute)?s?)?(?![a-z])\s?)?"
    r"(?:(\d+(?:\.\d+)?)\s?s(?:ec(?:ond)?s?)?\b)?"
)


def is_about_format(words: str) -> bool:
    """Whether a refusal names the response format; ``words`` is its body in lower case."""
    return bool(_FORMAT.search(words))


def is_vague(words: str) -> bool:
    """Whether a refusal gives no reason; ``words`` is its body, or its message, in lower case."""
    message = re.search(r'"(?:message|error|detail)":\s*"((?:[^"\\]|\\.)*)"', words)
    if message is None and words.lstrip().startswith(("{", "[")):
        return len(words) < 40
    return bool(_VAGUE.fullmatch((message[1] if message else words).strip()))


def is_about_setup(status: int, words: str) -> bool:
    """Whether a refusal, no 429, would meet every request; ``words`` is its body in lower case."""
    if is_about_format(words):
        return False
    if status in _NEVER or 100 <= status < 200 or 300 <= status < 400 or is_about_tls(words):
        return True
    if status == 403:
        return not _MODERATION.search(words)
    if status == 404:
        return bool(_MODEL.search(words)) or not _FEATURE.search(words)
    if _SPENT.search(words) or _KEY.search(words):
        return True
    return status < 500 and bool(_MODEL.search(words))


def is_about_tls(words: str) -> bool:
    """Whether a refusal says that the port expects TLS; ``words`` is its body in lower case."""
    return bool(_TLS.search(words))


def is_about_model(status: int, words: str) -> bool:
    """Whether a refusal says that the server does not know the model."""
    if is_about_format(words) or status not in {400, 404, 422}:
        return False
    return bool(_MODEL.search(words)) or (status == 404 and not _FEATURE.search(words))


def find_unsupported(words: str, parameters: Collection[str]) -> str | None:
    """The one of ``parameters`` that a refusal says to leave out; None for a wrong value, too."""
    for name in sorted(parameters):
        text = rf"\b{name}\b"
        if re.search(rf"{_NOT_TAKEN}[^{{}}]{{0,60}}{text}|{text}[^{{}}]{{0,80}}{_NOT_TAKEN}", words):
            return name
    return None


def is_spent(words: str, retry_after: float | None) -> bool:
    """Whether a 429 means that a quota, a plan or the day's requests are used up.

    ``words`` is its body in lower case, ``retry_after`` its header. A limit for each minute passes by
    waiting, whatever else the provider says about plans.
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
        hours, minutes, seconds = (float(part or 0) for part in match.groups())
        if total := hours * 3600 + minutes * 60 + seconds:
            return total
    return None
