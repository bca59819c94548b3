"""Secrets are masked by shape, by name and by value, and what only resembles them is not."""

from __future__ import annotations

import base64
import json
import random
import string
import sys
import time
from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock import redaction
from penstock.llm.provider_keys import key_names
from penstock.llm.providers import find_in_litellm
from penstock.redaction import is_secret_name, mask_secrets, redact, redact_known, register_secrets
from penstock.settings import Settings, get_settings

ALPHANUMERIC = string.ascii_letters + string.digits
URL_SAFE = ALPHANUMERIC + "-_"
HEX = "0123456789abcdef"


def made_up(prefix: str, length: int, characters: str = ALPHANUMERIC, suffix: str = "") -> str:
    """A key of a real shape that was never issued."""
    return prefix + "".join(random.Random(prefix).choices(characters, k=length)) + suffix


def token_of(*parts: dict[str, str]) -> str:
    """A JSON web token with these parts and a made-up signature."""
    texts = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*texts, made_up("", 43, URL_SAFE)])


PEM = "-----BEGIN RSA PRIVATE KEY-----\n" + "\n".join(
    [made_up("pem", 61), made_up("MII", 61), "-----END RSA PRIVATE KEY-----"]
)
KEYS = {
    "OpenAI": made_up("sk-", 48),
    "OpenAI, project": made_up("sk-proj-", 156, URL_SAFE),
    "OpenAI, service account": made_up("sk-svcacct-", 156, URL_SAFE),
    "OpenAI, repeated by the provider": "sk-proj-abc*********************wxyz",
    "Anthropic": made_up("sk-ant-api03-", 93, URL_SAFE, "AA"),
    "OpenRouter": made_up("sk-or-v1-", 64, HEX),
    "DeepSeek": made_up("sk-", 32, HEX),
    "Google, API key": made_up("AIza", 35, URL_SAFE),
    "Google, access token": made_up("ya29.a0", 160, URL_SAFE),
    "Google, refresh token": made_up("1//0g", 98, URL_SAFE),
    "Google, client secret": made_up("GOCSPX-", 28, URL_SAFE),
    "AWS": made_up("AKIA", 16, string.ascii_uppercase + "234567"),
    "AWS, temporary": made_up("ASIA", 16, string.ascii_uppercase + "234567"),
    "GitLab": made_up("glpat-", 20, URL_SAFE),
    "GitLab, routable": made_up("glpat-", 27, ALPHANUMERIC, ".01.0w1abcdef"),
    "GitHub": made_up("ghp_", 36),
    "GitHub, OAuth": made_up("gho_", 36),
    "GitHub, user": made_up("ghu_", 36),
    "GitHub, server": made_up("ghs_", 36),
    "GitHub, fine-grained": made_up("github_pat_", 82, ALPHANUMERIC + "_"),
    "Slack, bot": made_up("xoxb-", 12, string.digits, made_up("-", 12, string.digits, made_up("-", 24))),
    "Slack, user": made_up(
        "xoxp-", 12, string.digits, made_up("-", 12, string.digits, made_up("-", 32, HEX))
    ),
    "Slack, app": made_up("xapp-1-A", 10, string.ascii_uppercase + string.digits, made_up("-", 64, HEX)),
    "Groq": made_up("gsk_", 52),
    "xAI": made_up("xai-", 80),
    "Hugging Face": made_up("hf_", 34, string.ascii_letters),
    "Perplexity": made_up("pplx-", 48),
    "Replicate": made_up("r8_", 37),
    "NVIDIA": made_up("nvapi-", 64, URL_SAFE),
    "Cerebras": made_up("csk-", 48, string.ascii_lowercase + string.digits),
    "Stripe": made_up("sk_" + "live_", 24),
    "Stripe, restricted": made_up("rk_" + "live_", 24),
    "Mailgun": made_up("key-", 32, HEX),
    "Fireworks": made_up("fw_", 24),
    "Together": made_up("tgp_v1_", 43, URL_SAFE),
    "Anyscale": made_up("esecret_", 26),
    "Databricks": made_up("dapi", 32, HEX),
    "Voyage": made_up("pa-", 43, URL_SAFE),
    "Jina": made_up("jina_", 60),
    "Friendli": made_up("flp_", 46),
    "Meta": made_up("LLM|123456789012345|", 27),
    "Vercel": made_up("vck_", 56),
    "Novita": made_up("sk" + "_", 43),
    "Weights and Biases": made_up("wandb_v1_", 77, URL_SAFE),
    "LangSmith": made_up("lsv2_pt_", 32, HEX, "_0123456789"),
    "AWS, Bedrock": made_up("ABSK", 120, ALPHANUMERIC + "+/", "=="),
    "Google, new API key": made_up("AQ.Ab8", 44, URL_SAFE),
    "Azure AI": made_up("", 52) + made_up("JQQJ9", 26),
    "Entra ID": made_up("a1b8Q" + "~", 34),
    "Alibaba": made_up("LTAI", 20),
    "Tencent": made_up("AKID", 32),
    "Yandex": made_up("AQVN", 35, URL_SAFE),
    "DigitalOcean": made_up("dop_v1_", 64, HEX),
    "npm": made_up("npm_", 36),
    "PyPI": made_up("pypi-" + "AgEIcHlwaS5vcmc", 80, URL_SAFE),
    "RubyGems": made_up("rubygems_", 48, HEX),
    "Docker": made_up("dckr_pat_", 27, URL_SAFE),
    "Atlassian": made_up("ATATT3xFfGF0", 170, URL_SAFE),
    "SendGrid": made_up("SG" + ".", 22, URL_SAFE, "." + made_up("g", 42, URL_SAFE)),
    "Twilio, account": made_up("AC", 32, HEX),
    "Twilio, key": made_up("SK", 32, HEX),
    "Telegram": "1234567890" + made_up(":AA", 33, URL_SAFE),
    "Shopify": made_up("shp" + "at_", 32, HEX),
    "Vault": made_up("hvs" + ".", 90, URL_SAFE),
    "Grafana": made_up("glsa_", 32, ALPHANUMERIC, "_0a1b2c3d"),
    "Mailchimp": made_up("", 32, HEX, "-us14"),
    "JSON web token": token_of({"alg": "HS256", "typ": "JWT"}, {"sub": "1234567890"}),
    "PEM": PEM,
}
ORDINARY = [
    "sk-learn and key-value stores, task-based, risk-adjusted, desk-1234567890123",
    "<div class='sk-top-container sk-estimator-id-1'>",
    "commit 3c0b38da1f0e5d7c9b2a4f6e8d0c1b3a5f7e9d1c, job 2f1b7f6e-6f0c-4a53-9b8e-0d3c1f2a4b5c",
    "the journal's key d41d8cd98f00b204e9800998ecf8427e, cache key: d41d8cd98f00b204e9800998ecf8427e",
    "A token is the smallest unit of text. Each token costs; the token: the unit.",
    "max_tokens=4096 max_tokens: 4096 token_count: 12345678 tokenizer=cl100k_base",
    '{"max_tokens": 4096, "tokenizer": "cl100k_base", "total_tokens": 30, "eos_token": "</s>"}',
    "bearer authentication, the bearer of news, Bearer authorization is required",
    "basic understanding of JavaScript, Basic authentication, basic abcdefgh1234",
    "token = get_token(user) and client = Client(api_key=api_key, token=settings.api_token)",
    "def sign_in(password: str, token: SecretStr | None = None) -> None: ...",
    "password=None secret=null api_key=True token=<token> password={{ password }} token=${TOKEN} secret=***",
    "Enter your password: it must have eight letters. The secret: patience, and more patience.",
    "KeyError: 'key' ; monkey: banana123 ; hockey=puck2024 ; keyboard=qwerty123 ; primary_key=user_id_1",
    "http://127.0.0.1:8000/api/jobs?sort=-score and mailto:me@example.org, http://host:8080/ a@b",
    "https://user@host/path, git@github.com:penstock/penstock.git",
    "hf_hub_download, r8_model_name_without, xai-explainability, fw_task, ghost_writer_of_words",
    '{"token": 123456, "password": null, "secret": ["a"], "api_key": {"a": 1}}',
    "missing fields: password: required",
    "fc-daygrid-day, pa-rt of it, fw_task_of_the_day, npm_config_cache, jina_embeddings, sk_model, LLM|RAG",
    "AC0123456789 and SKU-0123456789abcdef, 12:AAB, AQ.Abend, 550e8400-e29b-41d4-a716-446655440000-us2",
    "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 doi:10.1000/182",
    "a connection string: the text that says where a database is",
    "data:image/png;base64," + base64.b64encode(bytes(range(256)) * 8).decode(),
]
NAMED = [
    ("password=hunter2 x", "password=*** x"),
    ("password: swordfish", "password: ***"),
    ("DB_PASSWORD = correct-horse-1", "DB_PASSWORD = ***"),
    ("export OPENAI_API_KEY=abcdefgh", "export OPENAI_API_KEY=***"),
    ("aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "aws_secret_access_key = ***"),
    ("SecretAccessKey: wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "SecretAccessKey: ***"),
    ("api-key: 0123456789abcdef0123456789abcdef", "api-key: ***"),
    ("AZURE_OPENAI_KEY=" + made_up("az", 84), "AZURE_OPENAI_KEY=***"),
    ("Ocp-Apim-Subscription-Key: 0123456789abcdef0123456789abcdef", "Ocp-Apim-Subscription-Key: ***"),
    ("AccountName=x;AccountKey=abc/def+ghi==;Suffix=y", "AccountName=x;AccountKey=***;Suffix=y"),
    ('{"api_key": "a\\"b", "n": 1}', '{"api_key": "***", "n": 1}'),
    ("{'clientSecret': 'it', 'n': 2}", "{'clientSecret': '***', 'n': 2}"),
    (
        '{"e": "{\\"password\\": \\"a\\\\\\"b\\", \\"q\\": 1}"}',
        '{"e": "{\\"password\\": \\"***\\", \\"q\\": 1}"}',
    ),
    ("Authorization: Basic dXNlcjpwYXNz", "Authorization: Basic ***"),
    ("Authorization: Bearer abcdefgh", "Authorization: Bearer ***"),
    ("Proxy-Authorization: abcdef123", "Proxy-Authorization: ***"),
    ("sent Bearer abc.def-123456 to it", "sent Bearer *** to it"),
    ("header basic dXNlcjpwYXNzd29yZA==", "header basic ***"),
    ("x-api-key: abc123def", "x-api-key: ***"),
    ("X-API-Token: open-sesame-42", "X-API-Token: ***"),
    ("Cookie: penstock_token=abc; theme=dark", "Cookie: ***"),
    ("curl --api-key abcdef -H 'x-api-key: 0123456789'", "curl --api-key *** -H 'x-api-key: ***'"),
    ("Incorrect API key provided: abcd1234.", "Incorrect API key provided: ***"),
    ("GET /v1?key=abc&sort=name", "GET /v1?key=***&sort=name"),
    ("GET /v1?model=x&api_key=abcd#top", "GET /v1?model=x&api_key=***"),
    ("GET /v1?token=abcd&x=1", "GET /v1?token=***&x=1"),
    ("https://host/blob?sv=1&sig=a%2Fb%3D", "https://host/blob?sv=1&sig=***"),
    ("SNOWFLAKE_JWT=abcdefgh", "SNOWFLAKE_JWT=***"),
    ("AWS_BEARER_TOKEN_BEDROCK=abcdefgh", "AWS_BEARER_TOKEN_BEDROCK=***"),
    ("AZURE_STORAGE_CONNECTION_STRING=UseDevelopment", "AZURE_STORAGE_CONNECTION_STRING=***"),
    (
        "Endpoint=sb://x/;SharedAccessKeyName=n;SharedAccessKey=abc+d=",
        "Endpoint=sb://x/;SharedAccessKeyName=n;Sha",
    ),
    ('{"private_key": "-----BEGIN ' + 'PRIVATE KEY-----\\nMII"}', '{"private_key": "***"}'),
    ("https://hooks.slack.com/services/T0/B0/" + made_up("", 24), "https://***"),
    (
        "https://discord.com/api/webhooks/123456789012345678/" + made_up("", 68),
        "https://discord.com/api/webhooks/***",
    ),
    ("postgresql://me:***@host/db", "postgresql://me:***@host/db"),
    ("postgresql://me:pa:ss@host/db", "postgresql://***@host/db"),
    ("redis://:pass@host and https://me:p@ss@host/x", "redis://***@host and https://***@host/x"),
]


@pytest.fixture(autouse=True)
def _forget_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_secrets", [])


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
@pytest.mark.parametrize(
    "text", ["{}", "key {}, please", '{{"error": "refused: {}"}}', "x={}\n", "'{}'", "\\n{}"]
)
def test_a_key_is_recognised_by_its_shape(key: str, text: str) -> None:
    masked = redact(text.format(key))

    assert masked == text.format("***")


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_a_key_is_masked_in_plain_data_as_well(key: str) -> None:
    assert mask_secrets({"blocks": [{"note": f"use {key} here"}]}) == {"blocks": [{"note": "use *** here"}]}


@pytest.mark.parametrize("text", ORDINARY)
def test_prose_code_and_identifiers_are_not_masked(text: str) -> None:
    assert redact(text) == text
    assert mask_secrets(text) == text


@pytest.mark.parametrize(("text", "masked"), NAMED)
def test_a_value_is_masked_that_follows_the_name_of_a_secret(text: str, masked: str) -> None:
    assert redact(text).startswith(masked)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "api_key",
            "apiKey",
            "OPENAI_API_KEY",
            "x-api-key",
            "accessToken",
            "access_tokens",
            "token",
            "secret",
        ),
        *(
            "client_secret",
            "Password",
            "db.password",
            "passphrase",
            "Authorization",
            "credentials",
            "AZURE_KEY1",
        ),
    ],
)
def test_names_of_secrets(name: str) -> None:
    assert is_secret_name(name)
    assert mask_secrets({name: "x"}) == {name: "***"}


@pytest.mark.parametrize(
    "name",
    [
        *(
            "key",
            "max_tokens",
            "tokens",
            "tokenizer",
            "token_count",
            "eos_token",
            "stop_token",
            "primary_key",
        ),
        *("keyword", "monkey", "secretary", "author", "password_length", "is_secret_shown", "first_token"),
    ],
)
def test_names_that_resemble_those_of_secrets(name: str) -> None:
    assert not is_secret_name(name)
    assert mask_secrets({name: "x"}) == {name: "x"}


def test_plain_data_is_masked_in_depth_and_templates_and_numbers_stay() -> None:
    data = {
        "headers": [{"Authorization": "Bearer abc"}, ("token", {"token": ["a", "{{ b }}"]})],
        "credentials": {"user": "me", "password": "it"},
        "api_key": "{{ api_key }}",
        "token": 5,
        "prompt": 'Answer {"password": "a word"}, never password=hunter2-hunter2-99.',
        "none": None,
    }

    assert mask_secrets(data) == {
        "headers": [{"Authorization": "***"}, ["token", {"token": ["***", "{{ b }}"]}]],
        "credentials": {"user": "me", "password": "***"},
        "api_key": "{{ api_key }}",
        "token": 5,
        "prompt": 'Answer {"password": "a word"}, never password=***',
        "none": None,
    }


@pytest.mark.parametrize("write", [str, json.dumps, lambda text: json.dumps(json.dumps(text)), quote])
def test_a_registered_secret_is_masked_however_it_is_written(write: Callable[[str], str]) -> None:
    secret = 'pä"ss/wörd &%'
    register_secrets(secret, "short")

    text = f"before {write(secret)} after, short stays"

    assert not any(part in redact(text) for part in ("ss/w", "ss%2Fw", "rd"))
    assert redact(text).startswith("before ")
    assert redact(text).endswith(" after, short stays")


def test_results_lose_registered_secrets_and_nothing_else() -> None:
    register_secrets("not-needed", "a-secret-of-the-settings")
    data = f"{KEYS['Anthropic']} password=hunter2 not-needed https://me:pw@host a-secret-of-the-settings"

    assert redact_known(data) == data.replace("a-secret-of-the-settings", "***")


def test_the_longest_of_secrets_that_begin_alike_is_masked_whole() -> None:
    register_secrets("swordfish", "swordfish-and-more")

    assert redact("swordfish-and-more, swordfish") == "***, ***"
    assert redact("abcd-efgh", "abcd", "abcd-efgh") == "***"


@pytest.mark.parametrize(
    ("url", "secrets"),
    [
        ("postgresql://me:p%40ssw0rd@host/db", {"p%40ssw0rd", "p@ssw0rd"}),
        ("postgresql://host/db?user=me&password=hunter22", {"hunter22"}),
        ("postgresql://me:pa/ss#word@host/db", {"pa/ss#word"}),
        ("postgresql://penstock:penstock@host/db", set()),
        ("sqlite:///data.db", set()),
        ("postgresql://[bad", set()),
    ],
)
def test_the_password_of_the_database_is_a_secret_of_the_settings(url: str, secrets: set[str]) -> None:
    assert set(Settings(database_url=url).secret_values()) - {""} >= secrets
    assert bool(secrets) == bool(set(Settings(database_url=url, llm_api_key="").secret_values()) - {""})  # type: ignore[arg-type]


def test_the_secrets_of_the_process_are_registered_when_its_settings_are_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LLM_API_KEY", "a-secret-of-the-process")
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:its-own-password@host/db")
    get_settings.cache_clear()

    get_settings()

    assert redact("a-secret-of-the-process, its-own-password") == "***, ***"
    get_settings.cache_clear()


def test_keys_of_all_providers_are_masked_by_the_names_of_their_variables() -> None:
    listed = find_in_litellm("provider_endpoints_support_backup.json")
    assert listed is not None
    providers = json.loads(listed.read_text())["providers"]
    value = made_up("", 24)

    shown = [
        text
        for provider in [*providers, "nano-gpt", "veniceai"]
        for name in key_names(provider.partition("/")[0])
        for text in (f"{name}={value}", f'"{name}": "{value}"', f"{name.lower()}: {value}")
        if value in redact(text)
    ]

    assert len(providers) > 100
    assert shown == []


def test_variables_named_like_secrets_are_registered_with_the_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DEEPSEEK_API_KEY", "made-up-key-of-a-provider")
    monkeypatch.setenv("PWD", "/home/somebody/a-project")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/home/somebody/google.json")
    monkeypatch.setenv("SHORT_TOKEN", "word")
    get_settings.cache_clear()

    get_settings()

    text = "made-up-key-of-a-provider in /home/somebody/a-project by /home/somebody/google.json, a word"
    assert redact_known(text) == text.replace("made-up-key-of-a-provider", "***")
    get_settings.cache_clear()


@settings(deadline=None, max_examples=200)
@given(
    st.recursive(
        st.none()
        | st.integers()
        | st.text()
        | st.sampled_from(["password=a\\", "token: 'x", *KEYS.values(), *ORDINARY]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["api_key", "token", "cookie", "x"]), inner, max_size=3)
        ),
        max_leaves=6,
    ),
    st.integers(0, 3),
)
def test_json_stays_json_of_the_same_form(value: object, depth: int) -> None:
    text = json.dumps(value)
    for _ in range(depth):
        text = json.dumps({"error": text})

    masked = json.loads(redact(text))

    assert type(masked) is type(json.loads(text))


@pytest.mark.parametrize(
    "piece",
    [
        *("token=", "key:", "token:token", "sk-", "sk-a1-", "password='", 'password="', "bearer ", "://a:"),
        *(
            "-----BEGIN PRIVATE KEY-----",
            "-----BEGIN PRIVATE KEY-----\\x",
            "-eyJ",
            "eyJaaaaaaaa.",
            "A",
            "gl",
            "1",
        ),
        *("cookie: ", "cookie: a", "--a", "?key=a&", '\\"token\\": \\"', "a\\", " token ", "api_key"),
        *(
            "JQQJ9",
            "a" * 40 + "JQQJ9",
            "0123456789abcdef-us",
            "1:AA",
            "xQ~",
            "/api/webhooks/1",
            "pa-",
            "LLM|1",
        ),
        *("https://u:p", "secret=x(", "token=a.b."),
    ],
)
def test_hostile_text_takes_time_in_proportion_to_its_length(piece: str) -> None:
    def seconds(length: int) -> float:
        text = (piece * length)[:length]
        started = time.process_time()
        redact(text)
        return time.process_time() - started

    seconds(1000)

    assert seconds(160_000) < 60 * max(seconds(20_000), 0.005)  # eight times as long; 64 times if quadratic


def test_no_other_letter_than_the_dotted_i_grows_when_it_becomes_small() -> None:
    growing = [chr(code) for code in range(sys.maxunicode + 1) if len(chr(code).lower()) != 1]

    assert growing == ["\u0130"]
    assert redact("\u0130\u0130 password=hunter2") == "\u0130\u0130 password=***"
