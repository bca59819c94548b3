"""Splitting Markdown into sections."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.blocks.builtin.markdown_multiplier import MarkdownMultiplierBlock
from penstock.errors import BadInputError
from penstock.workflow import Pipeline


async def split(text: Any, **config: int) -> list[str]:
    chunks = await MarkdownMultiplierBlock(**config).multiply({"file_content": text})
    assert [chunk["chunk_index"] for chunk in chunks] == list(range(len(chunks)))
    return [chunk["content"] for chunk in chunks]


@pytest.mark.row("A91")
async def test_each_heading_begins_a_section() -> None:
    sections = await split("# A\ntext\n\n## B\ntext\n\n### C\ntext")

    assert sections == ["# A\ntext", "## B\ntext", "### C\ntext"]


@pytest.mark.row("A90", "D12")
async def test_a_section_has_its_content_and_its_number_without_any_setting() -> None:
    sections = await MarkdownMultiplierBlock().multiply({"file_content": "# A\ntext\n\n# B"})

    assert sections == [{"content": "# A\ntext", "chunk_index": 0}, {"content": "# B", "chunk_index": 1}]


@pytest.mark.row("A30")
@pytest.mark.parametrize("text", ["no heading", "# A\ntext\n\n# B"])
async def test_a_pipeline_returns_a_list_of_results_even_for_one_section(text: str) -> None:
    pipeline = Pipeline.load_from_dict({"name": "split", "blocks": [{"type": "MarkdownMultiplierBlock"}]})

    results = await pipeline.execute({"file_content": text})

    assert isinstance(results, list)
    unpacked = [(result["content"], len(trace), bool(trace_id)) for result, trace, trace_id in results]
    assert unpacked == [(content, 1, True) for content in text.split("\n\n")]


@pytest.mark.row("A91")
@pytest.mark.parametrize(
    ("text", "sections"),
    [
        ("before\n\n# A\n", ["before", "# A"]),
        ("no heading at all", ["no heading at all"]),
        ("Title\n=====\ntext\n\nSub\n---\nmore", ["Title\n=====\ntext", "Sub\n---\nmore"]),
        ("# A\r\nx\r\n# B\ry", ["# A\nx", "# B\ny"]),
        ("\n\n# A\n\n\n", ["# A"]),
        ("# A\nx\n# B", ["# A\nx", "# B"]),
        ("# A\n# B\nx", ["# A\n\n# B\nx"]),
        ("# A\n\n## B\n\n### C\nx\n## D\ny", ["# A\n\n## B\n\n### C\nx", "## D\ny"]),
        ("A\n=\nB\n-\nx", ["A\n=\n\nB\n-\nx"]),
        ("# A\n<!-- # no -->\n# B\nx", ["# A\n<!-- # no -->\n\n# B\nx"]),
        ("<!--\n# no\n\n# no\n-->\n# A\nx", ["<!--\n# no\n\n# no\n-->\n\n# A\nx"]),
        ("---\n\n# A\nx", ["---\n\n# A\nx"]),
        ("\ufeff# A\nx\n# B\ny", ["# A\nx", "# B\ny"]),
        ("#no heading\n#hashtag", ["#no heading\n#hashtag"]),
        ("> # quoted\n\n- # listed\n", ["> # quoted\n\n- # listed"]),
        ("# A\x0c\u2028still A\nx\n# B", ["# A\x0c\u2028still A\nx", "# B"]),
    ],
)
async def test_sections_are_those_that_a_reader_sees(text: str, sections: list[str]) -> None:
    assert await split(text) == sections


BODY = "# Real heading\n\nText."


@pytest.mark.parametrize(
    "matter",
    [
        "---\ntitle: Getting started\nsidebar_position: 2\n---",
        "---\n# comment\n\ntags:\n- a\n- b\nmore: |\n  # x\n  y\nlist: [\n  a\n]\n---  ",
        "---\ntitle: Foo: a \t mistake\n'quoted key': x\n...",
        "---\n---",
        '+++\ntitle = "Hugo"\n[params]\nx.y = 1\nlist = [\n  "a",\n]\n+++',
        '{\n  "title": "Hugo"\n}',
    ],
)
@pytest.mark.parametrize("bom", ["", "\ufeff"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
async def test_front_matter_is_left_out(matter: str, bom: str, newline: str) -> None:  # fault 19
    for gap in ("\n", "\n\n"):
        assert await split(bom + (matter + gap + BODY).replace("\n", newline)) == [BODY]


@pytest.mark.parametrize(
    "text",
    [
        "---\n\nText between rules.\n\n---\n\nmore",
        "---\nno end: here\n\ntext",
        "---\nNote: a\n\nText of a paragraph.\n\n---",
        "text\n\n---\na: b\n---",
        '{\n  "only": "JSON"\n}',
        "{\nno JSON\n}\n\ntext",
        "+++\ntext\n+++",
        "no heading",
    ],
)
async def test_what_only_resembles_front_matter_is_text(text: str) -> None:
    assert "".join("".join(await split(text)).split()) == "".join(text.split())


async def test_a_document_of_nothing_but_front_matter_is_an_error() -> None:
    with pytest.raises(BadInputError, match="no text below its front matter"):
        await split("---\na: b\n---\n")


@pytest.mark.row("A92")
@pytest.mark.parametrize(
    "data", [{}, {"file_content": None}, {"file_content": ""}, {"file_content": " \n\t"}]
)
async def test_nothing_to_split_is_an_error(data: dict[str, Any]) -> None:
    with pytest.raises(BadInputError, match="file_content is missing or blank"):
        await MarkdownMultiplierBlock().multiply(data)


@pytest.mark.row("A93", "D12")
@pytest.mark.parametrize("fence", ["```", "~~~~", "    "])
async def test_headings_inside_code_do_not_split(fence: str) -> None:
    code = "    # x\n" if fence == "    " else f"{fence}\n# x\n{fence}\n"

    sections = await split(f"# A\n\n{code}\nafter\n\n# B")

    assert len(sections) == 2
    assert "# x" in sections[0]


async def test_headings_below_the_maximum_level_do_not_split() -> None:
    assert await split("# A\n## B\n# C", max_heading_level=1) == ["# A\n## B", "# C"]


async def test_short_sections_can_be_joined_to_the_next() -> None:
    assert await split("# A\n## B\nlong enough\n# C", min_length=10) == ["# A\n\n## B\nlong enough\n\n# C"]
    assert await split("# A", min_length=10) == ["# A"]


async def test_a_large_document_is_split() -> None:
    sections = await split("# Heading\n\nSome *text* with `code`.\n\n" * 5_000)

    assert len(sections) == 5_000


async def test_deeply_nested_quotes_are_parsed() -> None:
    assert len(await split("> " * 5_000 + "# x\n\n# A")) == 2


@given(st.text(alphabet="#ab \n`~->=*\t\r1.", min_size=1, max_size=200).filter(str.strip))
async def test_no_text_is_lost(text: str) -> None:
    text = f"text\n{text}"  # dashes at the very beginning may be front matter
    sections = await split(text)

    assert "".join("".join(sections).split()) == "".join(text.split())
