"""Old names of modules fail with the new name."""

from __future__ import annotations

import importlib
import re
import sys

import pytest

from penstock.renamed import RENAMED, RenamedNames


def find(name: str) -> object:
    """The module or attribute of this name; raises ImportError or AttributeError."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        module, _, attribute = name.rpartition(".")
        return getattr(importlib.import_module(module), attribute)


@pytest.mark.parametrize("old", RENAMED)
def test_an_old_name_is_gone_and_the_message_says_the_new_one(old: str) -> None:
    with pytest.raises(ModuleNotFoundError, match=re.escape(f"{old} is now {RENAMED[old]}")):
        importlib.import_module(old)


@pytest.mark.parametrize("old", RENAMED)
def test_the_new_names_exist(old: str) -> None:
    found = [find(new) for new in re.findall(r"penstock(?:\.\w+)+", RENAMED[old])]

    assert found
    for name in re.findall(r" is (\w+)", RENAMED[old]):
        assert any(hasattr(module, name) for module in found)


def test_importing_an_old_module_from_its_package_names_the_new_one() -> None:
    with pytest.raises(ImportError, match=r"penstock\.jobs\.runner"):
        from penstock.jobs import processor  # type: ignore[attr-defined]  # noqa: F401


def test_importing_an_old_name_from_its_package_names_the_new_one() -> None:
    with pytest.raises(ImportError, match=r"penstock\.llm\.CallContext"):
        from penstock.llm import CallScope  # type: ignore[attr-defined]  # noqa: F401


def test_a_module_that_never_existed_is_not_found_as_usual() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'penstock\.nothing'"):
        importlib.import_module("penstock.nothing")


def test_other_finders_are_asked_first() -> None:
    assert sys.meta_path.index(RenamedNames) > 0
