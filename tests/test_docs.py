"""The documentation is complete, its examples work, and every row of the contract has a test."""

from __future__ import annotations

import ast
import asyncio
import builtins
import inspect
import json
import re
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from pydantic import SecretStr

from penstock.app import create_app
from penstock.blocks.registry import BlockRegistry
from penstock.cli import penstock
from penstock.entities import Constraints
from penstock.exports import FORMATS
from penstock.gates import Decay, GateRegistry, HealPolicy, Ramp, Schedule
from penstock.seeds import SeedSource, open_seeds
from penstock.settings import Settings, get_settings
from penstock.templates import TemplateRegistry
from penstock.testing import ModelServer
from penstock.workflow import Pipeline, check

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
ROWS = (ROOT / "tests/contract_rows.txt").read_text(encoding="utf-8").split()

_FENCE = re.compile(
    r"^(?P<mark>```+)(?P<head>[^\n`]*)\n(?P<body>.*?)^(?P=mark)\s*$", re.MULTILINE | re.DOTALL
)
_LINK = re.compile(r"!?\[[^\]]*\]\((?P<target>[^)\s]+)\)")
_SPAN = re.compile(r"`([^`\n]+)`")


@dataclass(frozen=True)
class Snippet:
    """A fenced block: its language, the words after it (``run``, ``lines``, ``file=…``), and its text."""

    page: Path
    line: int
    language: str
    words: tuple[str, ...]
    text: str

    @property
    def file(self) -> str | None:
        """The file that the page gives for it."""
        return next((word.removeprefix("file=") for word in self.words if word.startswith("file=")), None)

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


@cache
def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def snippets(*languages: str) -> list[Snippet]:
    return [snippet for page in PAGES for snippet in _snippets_of(page) if snippet.language in languages]


def _snippets_of(page: Path) -> Iterator[Snippet]:
    for found in _FENCE.finditer(read(page)):
        language, *words = found["head"].split() or [""]
        line = read(page).count("\n", 0, found.start()) + 1
        yield Snippet(page, line, language, tuple(words), textwrap.dedent(found["body"]))


def sections(page: Path) -> dict[str, str]:
    """The text under each heading of a page, up to the next one of its level or above."""
    bare = _FENCE.sub("", read(page))
    headings = list(re.finditer(r"^(#+) (.+)$", bare, re.MULTILINE))
    found = {}
    for index, heading in enumerate(headings):
        after = (one.start() for one in headings[index + 1 :] if len(one[1]) <= len(heading[1]))
        found[heading[2]] = bare[heading.end() : next(after, len(bare))]
    return found


def spans(text: str) -> set[str]:
    """The texts in code marks."""
    return set(_SPAN.findall(text))


def write_files(page: Path, folder: Path) -> None:
    """Every file that a page shows, in ``folder``."""
    for snippet in _snippets_of(page):
        if snippet.file is not None:
            path = folder / snippet.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(snippet.text, encoding="utf-8")


def own_registries(folder: Path) -> dict[str, Any]:
    blocks = folder / "user_blocks"
    return {"blocks": BlockRegistry(blocks), "gates": GateRegistry(blocks)}


# Completeness


@pytest.mark.parametrize("block", BlockRegistry().list_schemas(), ids=lambda block: block["type"])
def test_each_block_has_a_section_with_its_outputs_and_settings(block: dict[str, Any]) -> None:
    section = sections(DOCS / "blocks.md")[block["type"]]

    assert {*block["outputs"], *block["config_schema"]["properties"]} <= spans(section)


@pytest.mark.parametrize("gate", GateRegistry().list_schemas(), ids=lambda gate: gate["type"])
def test_each_gate_has_a_section_with_its_settings(gate: dict[str, Any]) -> None:
    section = sections(DOCS / "gates.md")[gate["type"]]

    assert set(gate["config_schema"]["properties"]) <= spans(section)


def test_healing_and_the_kinds_of_entropy_are_documented_with_their_settings() -> None:
    section = spans(sections(DOCS / "gates.md")["Healing"])

    settings = {
        name for kind in (HealPolicy, Ramp, Decay, Schedule) for name in inspect.signature(kind).parameters
    }
    assert settings | {Ramp.kind, Decay.kind, Schedule.kind} <= section


@pytest.mark.parametrize("template", TemplateRegistry().list_templates(), ids=lambda template: template["id"])
def test_each_template_has_a_section_that_names_it(template: dict[str, Any]) -> None:
    section = sections(DOCS / "templates.md")[template["id"]]

    assert template["name"] in section or template["id"] == "fact_questions"


def test_each_setting_has_a_row_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `([A-Z_]+)` \| ([^|]+) \|", read(DOCS / "settings.md"), re.MULTILINE))

    documented = {name.lower(): shown.strip(" `") for name, shown in rows.items()}
    assert documented == {name: _show_default(field.default) for name, field in Settings.model_fields.items()}


def _show_default(value: Any) -> str:
    if value in {None, "", SecretStr("")}:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


@pytest.mark.parametrize("name", penstock.list_commands(click.Context(penstock)))
def test_each_command_has_a_section_with_its_options(name: str) -> None:
    section = spans(sections(DOCS / "cli.md")[f"penstock {name}"])

    command = penstock.get_command(click.Context(penstock), name)

    assert command is not None
    options = [option for option in command.params if isinstance(option, click.Option)]
    assert {max(option.opts, key=len) for option in options} <= section


def test_each_export_format_and_constraint_has_a_row() -> None:
    assert set(FORMATS) <= spans(sections(DOCS / "cli.md")["penstock export"])
    assert set(Constraints.model_fields) <= spans(sections(DOCS / "concepts.md")["Accounting"])


def test_each_route_is_documented() -> None:
    documented = set()
    for page in (DOCS / "api.md", DOCS / "jobs.md"):
        documented |= spans(read(page)) if page.exists() else set()
    shapes = {re.sub(r"\{\w*\}", "{}", span.partition("?")[0]) for span in documented}

    routes = [
        f"{method.upper()} {re.sub(r'{[^}]*}', '{}', path)}"
        for path, methods in create_app(Settings(database_path=Path(":memory:"))).openapi()["paths"].items()
        for method in methods
    ]

    assert routes
    missing = [route for route in routes if not any(_names_route(shape, route) for shape in shapes)]
    assert not missing


def _names_route(shape: str, route: str) -> bool:
    """Whether a code span names a route; ``…/versions/{n}`` names the one with this end."""
    return shape == route or (shape.startswith("…/") and route.endswith(shape[1:]))


# Examples


@pytest.mark.parametrize("snippet", snippets("yaml"), ids=str)
def test_each_pipeline_that_is_shown_loads_and_has_no_issues(snippet: Snippet, tmp_path: Path) -> None:
    write_files(snippet.page, tmp_path)
    shown = yaml.safe_load(snippet.text)
    definition = shown if isinstance(shown, dict) else {"name": "shown", "blocks": shown}
    registries = own_registries(tmp_path)

    problems = check(definition, **registries)
    pipeline = Pipeline.load_from_dict(
        definition, block_registry=registries["blocks"], gate_registry=registries["gates"]
    )

    assert not problems
    assert pipeline.steps


@pytest.mark.parametrize("snippet", snippets("json"), ids=str)
def test_each_piece_of_json_that_is_shown_is_json(snippet: Snippet) -> None:
    texts = snippet.text.splitlines() if "lines" in snippet.words else [snippet.text]

    for text in texts:
        value = json.loads(re.sub(r"\{…\}", "{}", text)) if not _is_requests(snippet) else None
        assert value is None or isinstance(value, dict | list)


def _is_requests(snippet: Snippet) -> bool:
    """Whether it is several request bodies, one a line, as the page on the API shows them."""
    lines = snippet.text.splitlines()
    return len(lines) > 1 and all(line.startswith("{") and line.endswith("}") for line in lines)


@pytest.mark.parametrize("snippet", [s for s in snippets("json") if s.file is not None], ids=str)
def test_each_seed_file_that_is_shown_can_be_opened(snippet: Snippet, tmp_path: Path) -> None:
    path = tmp_path / str(snippet.file)
    path.write_text(snippet.text, encoding="utf-8")

    seeds = open_seeds(path)

    assert isinstance(seeds, SeedSource)
    assert seeds.total


@pytest.mark.parametrize("snippet", snippets("python"), ids=str)
def test_each_piece_of_python_that_is_shown_compiles(snippet: Snippet) -> None:
    compile(snippet.text, str(snippet), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@pytest.mark.parametrize("snippet", [s for s in snippets("python") if "run" in s.words], ids=str)
async def test_each_program_that_is_shown_runs(
    snippet: Snippet, model: ModelServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model.answer = lambda body: '{"question": "Which city is it?", "answer": "Lisbon"}'
    write_files(snippet.page, tmp_path)
    monkeypatch.setenv("LLM_ENDPOINT", model.url)
    monkeypatch.setenv("LLM_MODEL", "gpt-x")
    monkeypatch.setenv("DATABASE_PATH", str(tmp_path / "shown.db"))
    get_settings.cache_clear()
    printed: list[str] = []
    names = {
        "__name__": "__main__",
        "print": lambda *values: printed.append(" ".join(map(str, values))),
    }

    program = compile(snippet.text, str(snippet), "exec", dont_inherit=True)
    await asyncio.to_thread(builtins.exec, program, names)

    assert printed or "stream_records" in snippet.text


@pytest.mark.parametrize(
    "snippet", [s for s in snippets("python") if (s.file or "").startswith("test_")], ids=str
)
def test_each_test_that_is_shown_passes(snippet: Snippet, tmp_path: Path) -> None:
    write_files(snippet.page, tmp_path)

    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(snippet.file)]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert ended.returncode == 0, ended.stdout
    assert " passed" in ended.stdout


@pytest.mark.parametrize("snippet", snippets("sh"), ids=str)
def test_each_command_that_is_shown_exists_and_takes_its_options(snippet: Snippet) -> None:
    for line in re.sub(r"\\\n", " ", snippet.text).splitlines():
        words = line.partition(" # ")[0].split()
        if "penstock" not in words:
            continue
        name, *rest = words[words.index("penstock") + 1 :]
        command = penstock.get_command(click.Context(penstock), name)
        assert command is not None, line
        known = {option for each in command.params for option in each.opts} | {"--help"}
        assert {word for word in rest if word.startswith("-") and word != "-"} <= known, line


@pytest.mark.parametrize("snippet", snippets("sh"), ids=str)
def test_each_make_target_that_is_shown_exists(snippet: Snippet) -> None:
    targets = set(re.findall(r"^([a-z-]+):", read(ROOT / "Makefile"), re.MULTILINE))

    shown = re.findall(r"^make ([a-z-]+)", snippet.text, re.MULTILINE)

    assert set(shown) <= targets


# Links


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_link_leads_somewhere(page: Path) -> None:
    broken = []
    for found in _LINK.finditer(_FENCE.sub("", read(page))):
        address, _, anchor = found["target"].partition("#")
        if address.startswith(("http://", "https://", "mailto:")):
            continue
        target = (page.parent / address).resolve() if address else page
        if not target.exists() or (anchor and anchor not in {_slug(title) for title in sections(target)}):
            broken.append(found["target"])

    assert not broken


def _slug(title: str) -> str:
    """The anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def test_the_index_leads_to_every_page() -> None:
    linked = {
        (DOCS / found["target"].partition("#")[0]).resolve()
        for found in _LINK.finditer(read(DOCS / "index.md"))
    }

    assert {page for page in PAGES if page.is_relative_to(DOCS)} - linked == {DOCS / "index.md"}


@pytest.mark.parametrize(
    "page", [DOCS / "design-map.md", DOCS / "architecture.md"], ids=lambda page: page.name
)
def test_each_file_of_ours_that_is_named_exists(page: Path) -> None:
    named = {span for span in spans(read(page)) if span.startswith(("src/", "tests/"))}
    to_come = {"src/penstock/builder"}
    theirs = {span for span in named if span.startswith("tests/test_")}

    missing = [span for span in named - to_come - theirs if not (ROOT / span).exists()]

    assert named
    assert not missing


# Layers


def test_each_promise_of_the_security_page_names_tests_that_exist() -> None:
    table = (ROOT / "SECURITY.md").read_text().partition("## What is promised")[2].partition("\n## ")[0]
    rows = [line.split(" | ") for line in table.splitlines() if line.startswith("| ")][2:]

    without = [row[0] for row in rows if len(row) == 3 and row[1].strip(" |") and "`tests/" not in row[2]]
    missing = [name for name in re.findall(r"`(tests/[^`]+)`", table) if not (ROOT / name).exists()]

    assert len(rows) > 10
    assert (without, missing) == ([], [])


def test_the_page_on_architecture_shows_the_layers_that_import_linter_checks() -> None:
    drawn = next(s.text for s in snippets("text") if s.page == DOCS / "architecture.md")
    contracts = tomllib.loads(read(ROOT / "pyproject.toml"))["tool"]["importlinter"]["contracts"]

    shown = [re.split(r" {2,}", line)[0] for line in drawn.splitlines()]

    assert shown == next(contract["layers"] for contract in contracts if contract["type"] == "layers")


# The contract


@cache
def named_rows() -> frozenset[str]:
    """The rows that tests name by ``@pytest.mark.row(…)``."""
    named: set[str] = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.row":
                named.update(str(word.value) for word in node.args if isinstance(word, ast.Constant))
    return frozenset(named)


def test_each_row_of_the_contract_has_a_test_that_names_it() -> None:
    unnamed = [row for row in ROWS if row not in named_rows()]

    assert not unnamed


def test_rows_that_tests_name_are_rows() -> None:
    others = {row for row in named_rows() if not re.fullmatch(r"[ABD]\d+", row)}

    assert not others
