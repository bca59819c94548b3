"""The embedded model runs on a Linux that has no OpenMP library."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from penstock.llm.embedded import openmp

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="libgomp is Linux's")


def test_the_installed_packages_carry_a_copy_of_the_library() -> None:
    bundled = openmp.find_bundled_library()

    assert bundled is not None
    assert bundled.read_bytes()[:4] == b"\x7fELF"


def test_where_the_system_has_the_library_a_child_gets_the_environment_unchanged() -> None:
    if not openmp.has_system_library():
        pytest.skip("this system has no libgomp")

    with openmp.child_environment() as environment:
        assert environment == dict(os.environ)


def test_a_child_loads_the_bundled_copy_under_the_name_that_the_linker_looks_for(tmp_path: Path) -> None:
    bundled = openmp.find_bundled_library()
    assert bundled is not None

    with openmp.environment_with(bundled) as environment:
        maps = subprocess.run(
            [
                sys.executable,
                "-c",
                "import ctypes; ctypes.CDLL('libgomp.so.1'); print(open('/proc/self/maps').read())",
            ],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    assert bundled.name in maps
