"""Masking of secrets in what penstock shows or keeps: logs, error messages, traces, exports.

A secret is recognised in three ways:

- by its shape: API keys with a known prefix, JSON web tokens, PEM private keys, passwords in URLs;
- by its name: ``api_key=…``, ``"password": "…"``, ``Authorization: …``, and mapping keys of such names;
- by its value: the secrets of the settings in use, which ``register_secrets`` is given.

``redact`` uses all three, ``redact_known`` only the third, because what a pipeline made may look like a key
and still be data. Everything here takes time in proportion to the length of the text.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote, quote_plus

from penstock.secret_shapes import SHAPES

MASK: Final = "***"
_SHORTEST = 8
"""Shorter registered secrets would mask parts of ordinary words."""
_SHORTEST_IN_RESULTS = 16
"""The same for results of pipelines: a key like ``not-needed`` is not worth a change of data."""
_SHORTEST_GIVEN = 4

_secrets: list[str] = []
"""The registered secrets in all their forms, the longest first."""


def register_secrets(*values: str) -> None:
    """Remember secret values, in every form they are written in; those below 8 characters are ignored."""
    forms = {form for value in values if len(value) >= _SHORTEST for form in _forms(value)}
    _secrets[:] = sorted({*_secrets, *forms}, key=len, reverse=True)


def redact(text: str, *secrets: str) -> str:
    """``text`` with ``***`` for the given secrets, the registered ones, and all that looks like one.

    JSON stays JSON: a match never goes beyond the end of a string.
    """
    given = {form for secret in secrets if len(secret) >= _SHORTEST_GIVEN for form in _forms(secret)}
    for secret in sorted(given, key=len, reverse=True):
        text = text.replace(secret, MASK)
    return _mask_named(_mask_shapes(redact_known(text, _SHORTEST)))


def redact_known(text: str, shortest: int = _SHORTEST_IN_RESULTS) -> str:
    """``text`` with ``***`` for registered secrets of ``shortest`` characters or more."""
    for secret in _secrets:
        if len(secret) >= shortest and secret in text:
            text = text.replace(secret, MASK)
    return text


def mask_secrets(value: Any) -> Any:
    """A copy of plain data (mappings, lists, text) with ``***`` for every secret in it.

    A text under a secret name is masked whole, a list of texts under one text by text; templates such as
    ``{{ api_key }}`` are kept. In other texts, ``name=value`` is masked only where the value looks random,
    since a prompt may well speak of passwords.
    """
    if isinstance(value, Mapping):
        return {key: _mask_item(str(key), item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [mask_secrets(item) for item in value]
    if isinstance(value, str):
        return _mask_named(_mask_shapes(redact_known(value, _SHORTEST)), is_secret=_looks_random)
    return value


def is_secret_name(name: str) -> bool:
    """Whether a value of this name is a secret: ``api_key``, ``clientSecret``, ``X-API-Token``, …

    ``max_tokens``, ``tokenizer`` and ``eos_token`` are none.
    """
    words = _NO_LETTER.sub("_", _CAMEL.sub("_", name[-_LONGEST_NAME:]).lower())
    return bool(_SECRET_NAME.search(words)) and not _MODEL_TOKEN.search(words)


# By value


def _forms(secret: str) -> set[str]:
    """A secret as it stands in text, in JSON, in JSON within JSON, and in an address."""
    in_json = {json.dumps(secret, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False)}
    return {
        secret,
        *in_json,
        *(json.dumps(form)[1:-1] for form in in_json),
        quote(secret, safe=""),
        quote(secret),
        quote_plus(secret),
    }


# By shape

_RANDOM = re.compile(r"[0-9](?:[^0-9]*[0-9]){2}|[A-Za-z0-9]{16}|\*\*")
"""What a key has and words joined by hyphens have not: three digits, or sixteen letters and digits in a row;
or asterisks, where a provider has masked part of it."""


def _looks_random(text: str) -> bool:
    return bool(_RANDOM.search(text))


def _mask_if_random(match: re.Match[str]) -> str:
    groups = match.groupdict()
    if "key" in groups and not _looks_random(groups["key"]):
        return match[0]
    return groups.get("kept", "") + MASK


def _mask_shapes(text: str) -> str:
    for literal, pattern in SHAPES:
        if literal in text:
            text = pattern.sub(_mask_if_random, text)
    return text


# By name

_LONGEST_NAME = 28
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_NO_LETTER = re.compile(r"[^a-z0-9]")
_OWNERS = (
    "api|app|access|secret|private|auth|client|account|subscription|signing|encryption|master|service|shared"
    "|session|refresh|webhook|ssh|bot|azure|openai|anthropic|claude|google|gemini|mistral|cohere|groq|xai|deepseek"
    "|openrouter|perplexity|replicate|huggingface|hf|aws|github|gitlab|slack|stripe|litellm|llm|cometapi|wandb"
    "|kaggle|mapbox|ngc|nvidia|oci|together|fireworks|storage|deploy|hmac|license|sharedaccess|bearer"
)
_SECRET_NAME = re.compile(
    rf"(?:^|_)(?:(?:{_OWNERS})_?(?:key|secret|token)s?|token|secrets?|(?:pg)?pass(?:word|wd|phrase|code)s?|pwd"
    r"|bearer_token_bedrock|jwt|connection_string|authorization|credentials?|cookie)_?[0-9]?$|apikeys?$"
)
"""Names of secrets, after ``camelCase`` was split and all that is no letter or digit became ``_``."""
_MODEL_TOKEN = re.compile(
    r"(?:^|_)(?:bos|eos|pad|unk|sep|cls|mask|stop|special|start|end|first|last|next|each|per|page)_token_?[0-9]?$"
)
"""Tokens of language models, and of the pages of a list."""
_ADDRESS_NAME = re.compile(r"(?i)[?&](?:amp;)?(?:[a-z0-9]{1,16}[_\-]){0,3}(?:key|sig|signature)$")
"""Parameters of an address that are secrets: ``?key=``, ``&sig=``, ``X-Amz-Signature=``."""

_QUOTE = r"""\\{0,7}["']"""
_SCHEME = r"(?P<scheme>(?:bearer|basic|token|bot)\s{1,3})?"
_LABELS = tuple(
    (
        literal,
        re.compile(
            rf"{literal}{rest}(?P<rest>s?_?[0-9]?)(?:\ provided)?(?P<close>{_QUOTE}|`)?"
            rf"(?P<sign>\s{{0,3}}(?:=>|:=|[:=]|%3[ad])\s{{0,3}})(?P<open>{_QUOTE})?{_SCHEME}"
        ),
    )
    for literal, rest in (
        *((word, "") for word in ("key", "secret", "pwd", "jwt", "authorization", "credential", "cookie")),
        ("token", "(?:_bedrock)?"),
        ("connection", "[_ -]?string"),
        ("pass", "(?:word|wd|phrase|code)"),
        ("sig", "(?:nature)?"),
    )
)
"""What stands before a value, by the end of its name: ``…key = "``, ``…token": "bearer ``."""
_OPTION = re.compile(r"--(?P<name>[A-Za-z0-9\-]{1,48})\s{1,3}(?P<value>[^\s\"'\\\-][^\s\"'\\]*)")
_BEARER = re.compile(r"bearer\s{1,3}(?P<value>[a-z0-9._~+/=\-]{8,})")
_BASIC = re.compile(r"basic\s{1,3}(?P<value>[a-z0-9+/]{6,}={0,2})")
_PROSE_AFTER_BEARER = re.compile(r"(?i)auth|token|cred|scheme|header|method|security|realm|format")

_BARE = re.compile(r"""[^\s"'\\,;&<>]+""")
_COOKIES = re.compile(r"""[^\s"'\\=;]{1,128}=[^\r\n"'\\]*""")
_QUOTED = {
    '"': re.compile(r'(?:[^"\\]|\\.)*', re.DOTALL),
    "'": re.compile(r"""(?:[^'"\\\n]|\\.)*"""),
    '\\"': re.compile(r'(?:[^"\\]|\\\\(?:\\.|[^\\"]))*'),  # JSON in a JSON string
}
_QUOTED_DEEPER = re.compile(r"""[^"'\\]*""")
_PLACEHOLDER = re.compile(r"\*\*\*|\{\{|\$\{|\$\(|<|%\(|\.\.\.|…")
_CALL = re.compile(r"[A-Za-z_][\w.]{0,64}[(\[]")
_REFERENCE = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+$")
_NOT_A_WORD = re.compile(r"[0-9!@#$%^*+~=]")
_LONG = 64
"""Values of this length are masked without further checks, so that no part of a text is scanned twice."""
_NO_VALUES = frozenset(
    (
        *("none", "null", "nil", "true", "false", "undefined", "unset", "empty", "hidden", "absent"),
        *("str", "string", "secretstr", "bytes", "int", "integer", "number", "bool", "boolean", "any"),
        *("object", "array", "optional", "required", "missing", "invalid", "expired", "unknown", "wrong"),
    )
)


def _mask_named(text: str, is_secret: Callable[[str], bool] = bool) -> str:
    """``text`` with ``***`` for the values after names of secrets, where ``is_secret`` is true of them."""
    lowered = text.replace("\u0130", "i").lower()  # İ is the one letter that lower() makes longer
    spans = [span for span in _find_values(text, lowered) if is_secret(text[slice(*span)])]
    parts: list[str] = []
    done = 0
    for start, end in sorted(spans):
        if start >= done:
            parts += [text[done:start], MASK]
            done = end
    return "".join([*parts, text[done:]]) if parts else text


def _find_values(text: str, lowered: str) -> Iterator[tuple[int, int]]:
    """Where the values of secrets stand; ``lowered`` is as long as ``text``."""
    for literal, label in _LABELS:
        if literal in lowered:
            yield from _find_labelled(text, lowered, label)
    if "--" in text:
        for option in _OPTION.finditer(text):
            if is_secret_name(option["name"]) and _is_meant(option["value"]):
                yield option.span("value")
    for literal, scheme, is_credential in (("bearer", _BEARER, _is_bearer), ("basic", _BASIC, _is_basic)):
        if literal in lowered:
            for match in scheme.finditer(lowered):
                start, end = match.span("value")
                if is_credential(text[match.start() : start], text[start:end]):
                    yield start, end


def _find_labelled(text: str, lowered: str, label: re.Pattern[str]) -> Iterator[tuple[int, int]]:
    position = 0
    while match := label.search(lowered, position):
        position = match.end()
        if match["close"] == '"' and match["open"] is None:
            continue  # JSON: a number, a list or the like, in whose place no *** can stand
        name = text[max(0, match.start() - _LONGEST_NAME) : match.end("rest")]
        if not (is_secret_name(name) or (match["sign"] == "=" and _ADDRESS_NAME.search(name))):
            continue
        if (end := _find_end(text, match, name)) is not None:
            yield position, end
            position = end


def _find_end(text: str, label: re.Match[str], name: str) -> int | None:
    """Where the value after a label ends; None when it is no secret."""
    start = label.end()
    if _PLACEHOLDER.match(text, start):
        return None
    if label["open"] is not None:
        value = _QUOTED.get(label["open"], _QUOTED_DEEPER).match(text, start)
        return value.end() if value and _is_meant(value[0]) else None
    if name.lower().endswith("cookie"):
        value = _COOKIES.match(text, start)
        return value.end() if value else None
    return None if _CALL.match(text, start) else _find_bare_end(text, label, name)


def _find_bare_end(text: str, label: re.Match[str], name: str) -> int | None:
    """The same for a value without quotes, which may also be code or the next word of a sentence."""
    if not (value := _BARE.match(text, label.end())):
        return None
    bare = value[0].rstrip(")]}")
    end = label.end() + len(bare)
    if len(bare) >= _LONG:
        return end
    if not _is_meant(bare) or name.endswith(bare) or (_REFERENCE.match(bare) and is_secret_name(bare)):
        return None
    if label["scheme"] or label["sign"] in {"=", "%3d"}:
        return end if len(bare) >= 4 or _ADDRESS_NAME.search(name) else None
    ends_line = end == len(text) or text[end] in "\r\n\"'\\"
    return end if _is_no_word(bare, name, ends_line=ends_line) else None


def _is_meant(value: str) -> bool:
    """Whether there is a value: no placeholder, no template, and no word like "required"."""
    return bool(value) and not _PLACEHOLDER.match(value) and value.lower() not in _NO_VALUES


def _is_no_word(value: str, name: str, *, ends_line: bool) -> bool:
    """Whether what follows ``name: `` can be a secret: no word of a sentence, and no number of tokens."""
    is_amount = name.lower().endswith("token") and value.replace(".", "", 1).isdigit()
    if len(value) < 6 or is_amount:
        return False
    return _NOT_A_WORD.search(value) is not None or (ends_line and value.isalpha())


def _is_bearer(label: str, value: str) -> bool:
    """Whether a token follows: prose like "bearer authentication" has letters alone, and few."""
    is_word = value.isalpha() and len(value) < 20
    return not is_word or (label.startswith("Bearer") and not _PROSE_AFTER_BEARER.match(value))


def _is_basic(_: str, value: str) -> bool:
    """Whether the value decodes to ``user:password``."""
    try:
        return b":" in base64.b64decode(value + "=" * (-len(value) % 4), validate=True)
    except binascii.Error:
        return False


def _mask_item(name: str, item: Any) -> Any:
    """An item of a mapping, masked when its name is a secret's."""
    if not is_secret_name(name):
        return mask_secrets(item)
    if isinstance(item, str):
        return MASK if item and "{{" not in item else item
    if isinstance(item, list | tuple):
        return [_mask_item(name, one) for one in item]
    return mask_secrets(item)
