"""Names of files that are not UTF-8."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from penstock.file_names import path_key, show_path

PIPELINE = {"name": "P", "blocks": [{"type": "DiversityScore", "config": {"field_name": "text"}}]}
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def penstock(folder: Path, *arguments: bytes, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [os.fsencode(sys.executable), b"-m", b"penstock", *arguments],
        cwd=folder,
        env={**os.environ, "LLM_ENDPOINT": "http://127.0.0.1:9", "LLM_MODEL": "none", **environment},
        capture_output=True,
        check=False,
        timeout=240,
    )


def test_a_name_is_shown_escaped_and_identified_by_its_bytes() -> None:
    odd = os.fsdecode(b"/a/out\xff.jsonl")

    assert show_path(odd) == r"/a/out\xff.jsonl"
    assert path_key(odd) != path_key(r"/a/out\xff.jsonl")
    assert show_path("/a/größe.jsonl") == path_key("/a/größe.jsonl") == "/a/größe.jsonl"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_every_command_takes_names_that_are_not_utf_8(tmp_path: Path) -> None:
    for name, content in ((b"p\xff.json", json.dumps(PIPELINE)), (b"s\xff.jsonl", '{"text": "a b"}\n')):
        (tmp_path / os.fsdecode(name)).write_text(content)

    made = penstock(tmp_path, b"run", b"p\xff.json", b"s\xff.jsonl", b"-o", b"out\xff.jsonl", b"--json")
    valid = penstock(tmp_path, b"validate", b"p\xff.json", b"s\xff.jsonl")
    exported = penstock(tmp_path, b"export", b"out\xff.jsonl", b"-o", b"e\xff.jsonl")
    missing = penstock(tmp_path, b"run", b"p\xff.json", b"gone\xff.jsonl", b"-o", b"o.jsonl")

    assert (made.returncode, valid.returncode, exported.returncode) == (0, 0, 0)
    assert json.loads(made.stdout)["output"] == r"out\xff.jsonl"
    assert {b"out\xff.jsonl", b"e\xff.jsonl"} <= {os.fsencode(path.name) for path in tmp_path.iterdir()}
    assert (missing.returncode, missing.stderr) == (2, b"Error: There is no seed file gone\\xff.jsonl.\n")


def test_a_run_is_the_same_in_every_locale(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text(json.dumps(PIPELINE))
    (tmp_path / "s.jsonl").write_text('{"text": "a b"}\n')
    arguments = (b"run", b"p.json", b"s.jsonl", b"-o", "größe.jsonl".encode(), b"--json")

    first, second = (penstock(tmp_path, *arguments, **environment) for environment in (ASCII, {}))

    assert (first.returncode, second.returncode) == (0, 0)
    reports = [json.loads(run.stdout) for run in (first, second)]
    assert [(report["job_id"], report["new_records"]) for report in reports] == [(1, 1), (1, 0)]
    assert reports[0]["output"] == "größe.jsonl"
