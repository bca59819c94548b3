"""Random bodies never cause a 5xx, and every error has the common shape."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from httpx import AsyncClient, Response
from hypothesis import HealthCheck, given
from hypothesis import settings as effort
from hypothesis import strategies as st

_NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
_LEAVES = st.none() | st.booleans() | st.integers() | _NUMBERS | st.text(max_size=8)
ANYTHING = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=8,
)
_SETTINGS = (
    "field_name",
    "min_length",
    "json_schema",
    "required_fields",
    "pattern",
    "part",
    "max_attempts",
    "entropy",
)
CONFIG = st.dictionaries(st.sampled_from(_SETTINGS), ANYTHING, max_size=3) | ANYTHING
BLOCKS = (
    "ValidatorBlock",
    "JSONValidatorBlock",
    "DiversityScore",
    "RougeScore",
    "MarkdownMultiplierBlock",
    "Nope",
)
GATE = st.fixed_dictionaries({"type": st.sampled_from(("RegexGate", "LengthGate", "Nope")), "config": CONFIG})
STEP = st.fixed_dictionaries(
    {"type": st.sampled_from(BLOCKS)},
    optional={
        "config": CONFIG,
        "gates": st.lists(GATE | ANYTHING, max_size=2) | ANYTHING,
        "heal": CONFIG,
        "samples": st.integers(0, 3) | ANYTHING,
    },
)
DEFINITION = st.fixed_dictionaries(
    {"name": st.text(max_size=5), "blocks": st.lists(STEP | ANYTHING, max_size=3)},
    optional={"constraints": ANYTHING, "layout": ANYTHING},
)
STATE = st.dictionaries(
    st.sampled_from(("assistant", "text", "file_content")) | st.text(max_size=5), ANYTHING, max_size=3
)
PREVIEW = st.dictionaries(st.sampled_from(("seed", "up_to", "only", "pins", "child")), ANYTHING, max_size=3)

_relaxed = effort(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def _is_answer(answer: Response) -> bool:
    body = answer.json()
    assert answer.status_code < 500, answer.text
    assert answer.status_code < 400 or body.keys() == {"error", "detail"}
    return answer.status_code == 200


@_relaxed
@given(definition=DEFINITION, state=STATE, preview=PREVIEW)
async def test_no_definition_causes_an_unexpected_error(
    app: FastAPI,
    client: AsyncClient,
    definition: dict[str, Any],
    state: dict[str, Any],
    preview: dict[str, Any],
) -> None:
    _is_answer(await client.post("/api/pipelines/validate", json=definition))

    made = await client.post("/api/pipelines", json=definition)
    if _is_answer(made):
        url = f"/api/pipelines/{made.json()['id']}"
        exported = await client.get(f"{url}/export")
        assert exported.status_code == 200
        assert _is_answer(await client.post("/api/pipelines/import", content=exported.content))
        assert _is_answer(await client.get(f"{url}/accumulated_state_schema"))
        _is_answer(await client.post(f"{url}/execute", json=state))
        _is_answer(await client.post(f"{url}/preview", json=preview))


@_relaxed
@given(body=st.binary(max_size=200))
async def test_no_body_causes_an_unexpected_error(client: AsyncClient, body: bytes) -> None:
    for path in ("/api/pipelines", "/api/pipelines/validate", "/api/session"):
        _is_answer(await client.post(path, content=body, headers={"content-type": "application/json"}))
    _is_answer(await client.post("/api/pipelines/import", content=body))
