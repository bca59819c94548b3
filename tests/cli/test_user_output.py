"""What blocks print: never in the result of a command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.command import start

BLOCK = """import os
from penstock import BaseBlock

print("at import")

class Loud(BaseBlock):
    outputs = ["o"]
    def __init__(self):
        print("when made")
    async def execute(self, data):
        print("when run")
        os.system("echo from a process")
        return {"o": "fine"}
"""


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (
            ("run", "p.yaml", "s.jsonl", "-o", "o.jsonl", "--json"),
            ("at import", "when made", "when run", "from a process"),
        ),
        (("validate", "p.yaml", "--json"), ("at import", "when made")),
        (("blocks", "--json"), ("at import",)),
    ],
    ids=["run", "validate", "blocks"],
)
async def test_what_a_block_prints_goes_to_standard_error(
    tmp_path: Path, command: tuple[str, ...], said: tuple[str, ...]
) -> None:
    (tmp_path / "user_blocks").mkdir()
    (tmp_path / "user_blocks" / "loud.py").write_text(BLOCK)
    (tmp_path / "p.yaml").write_text("name: P\nblocks:\n  - type: Loud\n")
    (tmp_path / "s.jsonl").write_text('{"n": 1}\n')

    process = await start(*command, model=None, folder=tmp_path)
    out, err = await process.communicate()

    assert process.returncode == 0
    json.loads(out)
    for words in said:
        assert words in err.decode()
