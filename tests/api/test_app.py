"""How the application is composed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from penstock.app import create_app
from penstock.settings import Settings

_HEAVY = ("litellm", "pyarrow", "rouge_score", "nltk", "alembic", "xllamacpp", "opentelemetry.sdk")


def test_importing_the_service_imports_nothing_heavy() -> None:
    code = f"import sys, penstock.app; print([name for name in {_HEAVY!r} if name in sys.modules])"

    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert output.strip() == "[]"


def test_every_route_is_described_well_enough_for_a_client(tmp_path: Path) -> None:
    openapi = create_app(Settings(database_path=tmp_path / "x.db")).openapi()

    routes = [route for methods in openapi["paths"].values() for route in methods.values()]
    assert all(route["summary"] and route["tags"] for route in routes)
    names = [route["operationId"] for route in routes]
    assert len(names) == len(set(names))
    assert "HTTPValidationError" not in json.dumps(openapi)
    for route in routes:
        for status, answer in route["responses"].items():
            if int(status) >= 400:
                assert answer["content"]["application/json"]["schema"]["$ref"].endswith("/ErrorBody")
