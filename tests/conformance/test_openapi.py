"""Every route conforms to the OpenAPI description, for random requests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, seed, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from conformance.conftest import Server
from penstock.app import create_app
from penstock.settings import Settings

pytestmark = pytest.mark.xdist_group("conformance_openapi")  # one server for all of them
EXAMPLES = 10
"""How many requests are made up for each operation."""
CHECKS: Any = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
schema = schemathesis.openapi.from_dict(create_app(Settings(database_path=Path("unused.db"))).openapi())
_TEXT: Any = {"type": "TextGenerator", "config": {"user_prompt": "hi {{ topic }}"}}


@pytest.fixture(scope="module")
def stocked(server: Server) -> Server:
    """The server with pipelines, jobs and records, so that small numbers in addresses mean something."""
    number = server.create(_TEXT, {"type": "BoomBlock", "config": {"word": "t2"}})
    for _ in range(3):
        server.run(number, [{"metadata": {"topic": f"t{seed}", "score": seed}} for seed in range(4)])
    return server


@schema.parametrize()
@seed(20)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_every_operation_conforms_to_its_description(stocked: Server, case: schemathesis.Case[Any]) -> None:
    case.call_and_validate(base_url=stocked.url, checks=CHECKS, timeout=60)
