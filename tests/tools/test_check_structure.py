"""The structure check: sizes, and import cycles that import-linter does not see."""

from __future__ import annotations

from tools.check_structure import find_cycles, list_long_parts, read_imports


def cycles(**sources: str) -> list[list[str]]:
    """Cycles between modules; ``a__b`` stands for ``a.b``."""
    modules = {name.replace("__", "."): source for name, source in sources.items()}
    return find_cycles(read_imports(modules))


def test_long_functions_classes_and_modules_are_named_with_their_line() -> None:
    body = "    x = 1\n" * 60

    assert list(list_long_parts(f"def fine():\n{body[:-10]}")) == []
    assert list(list_long_parts(f"\ndef long():\n{body}")) == [
        "2: the function long has 61 lines; at most 60 are allowed"
    ]
    assert list(list_long_parts("class Long:\n" + "    x = 1\n" * 300)) == [
        "1: the class Long has 301 lines; at most 300 are allowed"
    ]
    assert list(list_long_parts("x = 1\n" * 401)) == ["1: the module has 401 lines; at most 400 are allowed"]


def test_a_package_whose_submodule_imports_from_it_is_a_cycle() -> None:
    found = cycles(llm="from llm.client import Client", llm__client="from llm import retry", llm__retry="")

    assert [set(cycle) for cycle in found] == [{"llm", "llm.client"}]
    assert found[0][0] == found[0][-1]


def test_a_submodule_that_its_package_imports_is_not_a_cycle() -> None:
    assert not cycles(
        llm="from llm.client import Client",
        llm__client="import llm.retry\nfrom llm.retry import ask",
        llm__retry="",
    )


def test_a_package_is_imported_with_its_submodule() -> None:
    found = cycles(a="", a__x="import b.y", b="import b.z", b__y="", b__z="from a.x import name")

    assert [set(cycle) for cycle in found] == [{"a.x", "b", "b.z"}]


def test_imports_inside_functions_count_and_those_for_type_checkers_do_not() -> None:
    assert cycles(a="def f():\n    import b", b="import a")
    assert not cycles(a="if TYPE_CHECKING:\n    import b", b="import a")


def test_every_cycle_is_reported() -> None:
    assert len(cycles(a="import b", b="import a", c="import d", d="import c")) == 2
