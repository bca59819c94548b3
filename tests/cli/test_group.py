"""The command group: help, version, and what it imports."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import penstock
from cli.conftest import Cli
from penstock import BaseBlock, BaseGate, Pipeline, run

HEAVY = ("litellm", "sqlalchemy", "aiohttp", "pyarrow", "fastapi", "xllamacpp", "nltk", "alembic", "openai")


def modules_after(code: str, folder: Path) -> list[str]:
    """The heavy modules that a new interpreter has imported after ``code``."""
    script = (
        f"import sys\n{code}\nprint(*[name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stderr.split()


@pytest.mark.parametrize(
    "code",
    [
        "import penstock",
        "import penstock.cli",
        "from penstock.cli import penstock\npenstock.main(['--help'], standalone_mode=False)",
        "from penstock.cli import penstock\npenstock.main(['run', '--help'], standalone_mode=False)",
    ],
)
def test_importing_the_package_or_showing_help_imports_no_heavy_module(tmp_path: Path, code: str) -> None:
    assert modules_after(code, tmp_path) == []


def test_validating_imports_neither_the_database_nor_a_model_library(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("name: P\nblocks:\n- type: ValidatorBlock\n")
    code = (
        "from penstock.cli import penstock\n"
        "try: penstock.main(['validate', 'p.yaml'], standalone_mode=False)\n"
        "except SystemExit: pass"
    )

    assert not {"litellm", "sqlalchemy", "fastapi", "xllamacpp"} & set(modules_after(code, tmp_path))


def test_the_package_exports_what_a_notebook_needs() -> None:
    assert set(penstock.__all__) >= {"Pipeline", "BaseBlock", "BaseGate", "run"}
    assert {Pipeline.__name__, BaseBlock.__name__, BaseGate.__name__} == {"Pipeline", "BaseBlock", "BaseGate"}
    assert callable(run)
    with pytest.raises(AttributeError):
        _ = penstock.nothing


def test_help_names_every_command_and_the_exit_statuses(cli: Cli) -> None:
    done = cli("--help")

    assert done.status == 0
    for command in ("demo", "run", "validate", "export", "blocks", "templates", "doctor", "serve"):
        assert re.search(rf"^  {command} ", done.out, re.MULTILINE)
    assert "130" in done.out


@pytest.mark.parametrize(
    "command", ["demo", "run", "validate", "export", "blocks", "templates", "doctor", "serve"]
)
def test_every_command_has_help_with_examples(cli: Cli, command: str) -> None:
    done = cli(command, "--help")

    assert done.status == 0
    assert "Examples:" in done.out


def test_the_version_is_that_of_the_package(cli: Cli) -> None:
    assert penstock.__version__ in cli("--version").out
