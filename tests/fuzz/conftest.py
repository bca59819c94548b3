"""Only ``make fuzz`` collects this folder; its tests share ``FUZZ_SECONDS``."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from support import fuzzing

collect_ignore_glob = [] if fuzzing.ENABLED else ["test_*.py"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test its share of the time."""
    ours = [item for item in items if item.path.parent == Path(__file__).parent]
    for item in ours:
        fuzzing.share = float(os.environ["FUZZ_SECONDS"]) / len(ours)
        item.add_marker(pytest.mark.timeout(0))
