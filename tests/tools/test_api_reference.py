"""The API reference says what the docstrings say."""

from __future__ import annotations

from tools.api_reference import PAGE, SECTIONS, render, update


def test_the_committed_reference_is_what_the_docstrings_give() -> None:
    page = PAGE.read_text(encoding="utf-8")

    assert page == update(page), "run `make docs-api`"


def test_every_public_name_has_a_description() -> None:
    reference = render()

    for names in SECTIONS.values():
        for name in names:
            _, _, described = reference.partition(f"### {name.rpartition('.')[2]}\n")
            heading, _, text = described.partition("`\n")
            assert heading.strip().startswith("`from penstock")
            assert text.strip(), name


def test_errors_are_listed_below_what_they_derive_from() -> None:
    lines = render().splitlines()

    base = next(line for line in lines if line.lstrip().startswith("- `BadInputError`"))
    derived = next(line for line in lines if line.lstrip().startswith("- `DefinitionError`"))
    assert lines.index(base) < lines.index(derived)
    assert len(derived) - len(derived.lstrip()) == len(base) - len(base.lstrip()) + 2
