"""Mutation testing: which changes are made, and which are drawn."""

from __future__ import annotations

from pathlib import Path

from tools.mutants import Workspace, draw_sample
from tools.mutation_operators import list_mutations

SOURCE = """\
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from os import PathLike


def save(text: str | bytes, limit: int = 500) -> int | None:
    written: int | None = None
    if limit > 3:
        os.fsync(limit)
        _log.warning("%d", 4)
    return written
"""


def changed_lines(source: str) -> dict[str, set[str]]:
    """The changed lines by operator, without indentation."""
    changes: dict[str, set[str]] = {}
    for mutation in list_mutations(source):
        line = mutation.apply(source).splitlines()[mutation.line - 1].strip()
        changes.setdefault(mutation.operator, set()).add(" ".join(line.split()))
    return changes


def test_statements_return_values_and_comparisons_are_changed() -> None:
    changes = changed_lines(SOURCE)

    assert changes["RemoveStatement"] == {"pass"}
    assert changes["ReturnNone"] == {"return None"}
    assert changes["NumberReplacer"] == {"if limit > 4:", "if limit > 2:"}
    assert "if limit >= 3:" in changes["ReplaceComparisonOperator_Gt_GtE"]


def test_annotations_type_imports_log_messages_and_large_numbers_are_left_alone() -> None:
    lines = {mutation.line for mutation in list_mutations(SOURCE)}

    assert lines == {10, 11, 13}


def test_the_same_seed_draws_the_same_sample_and_each_position_once(tmp_path: Path) -> None:
    module = tmp_path / "src" / "penstock" / "some" / "module.py"
    module.parent.mkdir(parents=True)
    module.write_text("\n".join(f"x{n} = {n} < {n + 1}" for n in range(40)), encoding="utf-8")

    sample = draw_sample(tmp_path, "some", 20, seed=1)

    assert sample == draw_sample(tmp_path, "some", 20, seed=1)
    assert sample != draw_sample(tmp_path, "some", 20, seed=2)
    assert len({mutant.mutation.span for mutant in sample}) == 20


def test_a_file_is_changed_only_while_it_is_tested(tmp_path: Path) -> None:
    module = tmp_path / "src" / "penstock" / "some.py"
    module.parent.mkdir(parents=True)
    module.write_text("ready = True\n", encoding="utf-8")
    (mutant,) = draw_sample(tmp_path, "some.py", 1, seed=1)

    with Workspace(tmp_path).mutated(mutant):
        during = module.read_text(encoding="utf-8")

    assert during == "ready = False\n"
    assert module.read_text(encoding="utf-8") == "ready = True\n"
