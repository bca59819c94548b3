"""Pipeline files: YAML or JSON, as a file or as a text."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.errors import DefinitionError
from penstock.workflow.definition import load_definition
from penstock.workflow.validation import validate
from support.trial_definitions import TEXT, steps

BOMB = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 10)}]\n"
    for before, name in zip("abcdefg", "bcdefgh", strict=True)
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: x\nblocks: [", "line 3"),
        ("name: x\nblocks:\n\t- a", "line 3"),
        ("- a\n- b", "holds a list"),
        ("\n", "is empty"),
        (BOMB, "once its anchors unfold"),
        ("a: &a [*a]\n", "contains itself"),
        ("a: " + "[" * 100 + "]" * 100 + "\n", "nested more than 60"),
        ("[" * 100_000 + "\n", "nesting"),
        ("a: !!python/object:os.system x\n", "tag"),
        ("a: 1\n---\nb: 2\n", "another document"),
        ("a: " + "9" * 5000 + "\n", "cannot be read"),
        ("a: \0\n", "not valid YAML"),
        ("a: 1\n" * 500_000, "is larger than 2,048 KB"),
    ],
)
def test_a_text_that_is_not_a_pipeline_is_refused_with_the_line(text: str, words: str) -> None:
    with pytest.raises(DefinitionError, match=words):
        load_definition(text)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("x.json", b'{"name": "x",\n oops}', "x.json line 2: this is not valid JSON"),
        ("x.yaml", b"\xff\xfe", "not UTF-8"),
        ("gone.yaml", None, r"no pipeline file .*gone\.yaml"),
        ("x.yaml", b" " * 3_000_000, "larger than"),
    ],
)
def test_a_file_that_is_not_a_pipeline_is_refused(
    tmp_path: Path, name: str, content: bytes | None, words: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)

    with pytest.raises(DefinitionError, match=words):
        load_definition(tmp_path / name)


def test_yaml_and_json_files_give_the_same_definition(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(steps(TEXT), encoding="utf-8-sig")
    (tmp_path / "x.json").write_text(
        '{"name": "Test", "blocks": [{"type": "TextGenerator",\n'
        ' "config": {"user_prompt": "About {{ topic }}"}}]}'
    )

    one, _ = load_definition(tmp_path / "x.yaml")
    other, source = load_definition(str(tmp_path / "x.json"))

    assert one == other
    assert validate(other, seeds=[{}], source=source)[0].line == 2


def test_words_that_yaml_1_1_reads_as_values_stay_text() -> None:
    definition, _ = load_definition(
        "name: no\non: 2024-01-01\ntime: 12:30\nzip: 010\nlist: [yes, off, ~, 1e3, 0x1F]\n"
    )

    assert definition == {
        "name": "no",
        "on": "2024-01-01",
        "time": "12:30",
        "zip": "010",
        "list": ["yes", "off", None, 1000.0, 31],
    }
