"""Files that change only when they are complete."""

from __future__ import annotations

from pathlib import Path

from penstock.exports.atomic_file import replace_file


def test_a_file_is_replaced_only_when_it_is_complete_and_keeps_its_permissions(tmp_path: Path) -> None:
    target = tmp_path / "x"
    target.write_text("old")
    target.chmod(0o640)

    with replace_file(target) as file:
        file.write(b"new")
        during = target.read_text()

    assert (during, target.read_text()) == ("old", "new")
    assert target.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [target]


def test_a_new_file_is_as_readable_as_any_other(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")

    with replace_file(tmp_path / "deep" / "x") as file:
        file.write(b"new")

    assert (tmp_path / "deep" / "x").stat().st_mode == (tmp_path / "plain").stat().st_mode
