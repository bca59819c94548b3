"""The shapes of secrets: API keys with a known prefix, tokens, private keys, logins in addresses.

Each shape has a literal that it cannot be without, so that most texts are only searched for the literals. In
a pattern the group ``key`` is what must look random, and ``kept`` is what stays before the mask. Patterns
take time in proportion to the length of the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_NOT_INSIDE = "A-Za-z0-9"


def _shape(literal: str, rest: str, before: str = _NOT_INSIDE) -> re.Pattern[str]:
    """A pattern that begins with a literal, which none of the characters ``before`` may precede.

    The letter of an escape sequence (``\\n``) may. What precedes is looked at after the literal, because
    patterns that begin with one are searched faster.
    """
    start = re.escape(literal)
    return re.compile(rf"{start}(?:(?<![{before}]{start})|(?<=\\[nrt]{start})){rest}")


_START = r"(?:(?<![A-Za-z0-9])|(?<=\\[nrt]))"
_END = r"(?![A-Za-z0-9])"
_KEY = r"(?P<key>[A-Za-z0-9_*.\-]{12,})"

_PREFIXES = (
    # sk-: OpenAI, Anthropic, OpenRouter, DeepSeek and others; csk-: Cerebras; gsk_: Groq; r8_: Replicate
    *("sk-", "pk-", "rk-", "csk-", "gsk_", "gsk-", "hf_", "nvapi-", "pplx-", "r8_"),
    *("tgp_v1_", "esecret_", "flp_", "jina_", "vck_", "wandb_v1_", "api_org_"),
    # LangSmith, Tavily, Pinecone, E2B, PostHog, Firecrawl
    *("lsv2_pt_", "lsv2_sk_", "tvly-", "pcsk_", "e2b_", "phc_", "phx_", "fc-"),
    # GitHub, GitLab, npm, PyPI, RubyGems, Docker, Atlassian
    *("github_pat_", "npm_", "pypi-AgE", "rubygems_", "dckr_pat_", "dckr_oat_", "ATATT3", "ATCTT3"),
    # DigitalOcean, Vault, Supabase, PlanetScale, Netlify, Sentry, Grafana, New Relic, Databricks
    *("dop_v1_", "doo_v1_", "dor_v1_", "hvs.", "hvb.", "hvr.", "sbp_", "sb_secret_", "pscale_tkn_"),
    *("pscale_pw_", "pscale_oauth_", "nfp_", "sntrys_", "sntryu_", "glsa_", "glc_", "NRAK-", "HRKU-"),
    # Shopify, Square, Brevo, Linear, Notion, Figma, Postman, Stripe's webhooks, Doppler
    *("shpat_", "shpca_", "shppa_", "shpss_", "sq0atp-", "sq0csp-", "xkeysib-", "lin_api_", "ntn_"),
    *("figd_", "PMAK-", "whsec_", "dp.pt.", "dp.st.", "bedrock-api-key-", "GOCSPX-", "AGE-SECRET-KEY-1"),
)  # fmt: skip
"""Keys that begin with a word of their provider and go on with random characters."""

_FORMS: tuple[tuple[str, re.Pattern[str]], ...] = (
    *((mode, re.compile(rf"{_START}[prs]k{mode}[A-Za-z0-9]{{10,}}")) for mode in ("_live_", "_test_")),
    ("sk_", _shape("sk_", rf"[A-Za-z0-9]{{24,}}{_END}")),  # Novita, ElevenLabs
    ("fw_", _shape("fw_", rf"(?P<key>[A-Za-z0-9]{{20,}}){_END}")),  # Fireworks
    ("pa-", _shape("pa-", rf"(?P<key>[A-Za-z0-9_\-]{{40,}}){_END}", before=r"A-Za-z0-9_\-")),  # Voyage
    ("LLM|", _shape("LLM|", r"[0-9]{6,}\|[A-Za-z0-9_\-]{16,}")),  # Meta
    ("dapi", _shape("dapi", rf"[0-9a-f]{{32}}(?:-[0-9])?{_END}")),  # Databricks
    ("gh", _shape("gh", rf"(?:[opsur]_|p-){_KEY}")),  # GitHub
    ("gl", _shape("gl", rf"(?:pat|dt|rt|cbt|ptt|soat|oas|agent|imt|ft|ffct)-{_KEY}")),  # GitLab
    ("xox", _shape("xox", rf"[a-z][\-.]{_KEY}")),  # Slack
    ("xa", _shape("xa", rf"(?:pp|i)-{_KEY}")),  # Slack, xAI
    ("key-", _shape("key-", rf"[0-9a-f]{{32}}{_END}")),  # Mailgun
    ("A", _shape("A", rf"(?:[KS]IA[A-Z0-9]{{16}}{_END}|Iza[A-Za-z0-9_\-]{{30,}})")),  # AWS, Google
    ("AQ.", _shape("AQ.", r"Ab[A-Za-z0-9_\-]{30,}")),  # Google
    ("ABSK", _shape("ABSK", r"[A-Za-z0-9+/]{40,}={0,2}")),  # AWS Bedrock
    ("LTAI", _shape("LTAI", rf"[A-Za-z0-9]{{12,30}}{_END}")),  # Alibaba
    ("AKID", _shape("AKID", rf"[A-Za-z0-9]{{32}}{_END}")),  # Tencent
    ("AQVN", _shape("AQVN", r"[A-Za-z0-9_\-]{30,}")),  # Yandex
    ("AC", _shape("AC", rf"[0-9a-f]{{32}}{_END}")),  # Twilio
    ("SK", _shape("SK", rf"[0-9a-f]{{32}}{_END}")),
    ("SG.", _shape("SG.", r"[A-Za-z0-9_\-]{16,32}\.[A-Za-z0-9_\-]{16,64}")),  # SendGrid
    ("ATBB", _shape("ATBB", rf"[A-Za-z0-9]{{32}}{_END}")),  # Bitbucket
    ("-us", re.compile(rf"{_START}[0-9a-f]{{32}}-us[0-9]{{1,2}}{_END}")),  # Mailchimp
    (
        "Q~",
        re.compile(rf"{_START}[A-Za-z0-9_.~\-]{{3}}[0-9]Q~[A-Za-z0-9_.~\-]{{31,34}}"),
    ),  # Entra ID
    ("JQQJ9", re.compile(rf"{_START}[A-Za-z0-9]{{52}}JQQJ9[A-Za-z0-9]{{20,30}}{_END}")),  # Azure AI
    (".atlasv1.", re.compile(rf"{_START}[A-Za-z0-9]{{14}}\.atlasv1\.[A-Za-z0-9_\-=]{{40,}}")),  # Terraform
    (":AA", re.compile(rf"{_START}[0-9]{{8,10}}:AA[A-Za-z0-9_\-]{{33}}{_END}")),  # Telegram
    ("hooks.slack.com/", _shape("hooks.slack.com/", r"(?:services|workflows|triggers)/[A-Za-z0-9/]{20,}")),
    (
        "/api/webhooks/",
        re.compile(r"(?<=/api/webhooks/)[0-9]{15,22}/[A-Za-z0-9_\-]{40,}"),
    ),  # Discord
    ("ya29.", _shape("ya29.", r"[A-Za-z0-9_.\-]{16,}")),  # Google: access and refresh tokens
    ("1//0", _shape("1//0", r"[A-Za-z0-9_\-]{30,}")),
    (
        "eyJ",  # JSON web tokens
        _shape("eyJ", r"[A-Za-z0-9_\-]{6,}\.[A-Za-z0-9_\-]+\.[A-Za-z0-9_.\-]*", before=r"A-Za-z0-9_\-"),
    ),
    (
        "PRIVATE KEY",
        re.compile(
            r"-----BEGIN [A-Z0-9 ]{0,32}PRIVATE KEY(?: BLOCK)?-----"
            r"(?:[A-Za-z0-9+/=\s:,.]|\\[nrt]|-(?!----))*"
            r"(?:-----END [A-Z0-9 ]{0,32}PRIVATE KEY(?: BLOCK)?-----)?"
        ),
    ),
    (
        "://",  # user:password@ in an address
        re.compile(r"""(?P<kept>://)[^\s/:@"'<>\\?#]{0,256}:(?!\*{3}@)(?:[^\s/"'<>\\?#]|\\.){1,1024}(?=@)"""),
    ),
)


def _all() -> Iterator[tuple[str, re.Pattern[str]]]:
    for prefix in _PREFIXES:
        yield prefix, _shape(prefix, _KEY)
    yield from _FORMS


SHAPES: tuple[tuple[str, re.Pattern[str]], ...] = tuple(_all())
"""A literal that the shape cannot be without, and its pattern."""
