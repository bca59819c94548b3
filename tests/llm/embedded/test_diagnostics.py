"""What the embedded model needs."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from penstock.llm import embedded
from penstock.llm.embedded.weights import find_installed
from penstock.settings import EMBEDDED_MODEL, Settings

INSTALLED = find_installed(embedded.EMBEDDED_MODELS[EMBEDDED_MODEL]) is not None and bool(
    importlib.util.find_spec("xllamacpp")
)


def test_the_check_finds_what_is_installed_without_starting_anything() -> None:
    requirements = {one.name: one for one in embedded.check_requirements(Settings())}

    assert {"runtime", "weights"} <= requirements.keys()
    if INSTALLED:
        assert all(one.is_met for one in requirements.values())
        assert "98 MB" in requirements["weights"].found


def test_the_check_says_what_is_wrong_with_the_users_own_file(tmp_path: Path) -> None:
    settings = Settings(embedded_model_path=tmp_path / "none")

    requirements = {one.name: one for one in embedded.check_requirements(settings)}

    assert not requirements["weights"].is_met
    assert "EMBEDDED_MODEL_PATH" in requirements["weights"].advice
