"""The card of a dataset: what it says, and that it holds no secrets."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from penstock.exports import (
    export_dataset,
    mask_secrets,
    write_card,
)
from support.exports import record, stream


async def test_a_dataset_folder_has_data_card_and_pipeline(tmp_path: Path) -> None:
    details = {
        "name": "Fact | questions",
        "pipeline": {
            "name": "Facts",
            "blocks": [
                {
                    "type": "TextGenerator",
                    "config": {"model": "openai/gpt_x", "api_key": "sk-verysecretverysecret"},
                    "gates": [{"type": "LengthGate"}],
                }
            ],
        },
        "penstock": "0.1.0",
        "seeds": "facts.jsonl",
        "seeds_digest": "ab" * 32,
        "counts": {"pending": 2, "failed": 1},
        "usage": {"llm_calls": 5, "total_input_tokens": 1234, "total_cost": None},
    }

    report = await export_dataset(
        stream(record(1, a=1), record(2, a=2)), tmp_path / "set", "jsonl", None, details
    )

    card = (tmp_path / "set" / "README.md").read_text()
    matter = yaml.safe_load(card.split("---")[1])
    assert sorted(path.name for path in (tmp_path / "set").iterdir()) == [
        "README.md",
        "pipeline.yaml",
        "train.jsonl",
    ]
    assert report.rows == 2
    assert matter["pretty_name"] == "Fact | questions"
    assert matter["size_categories"] == ["n<1K"]
    assert matter["configs"][0]["data_files"] == [{"split": "train", "path": "train.jsonl"}]
    for words in (
        "Fact \\| questions",
        "`openai/gpt_x`",
        "ab" * 32,
        "LengthGate",
        "| failed | 1 |",
        "1,234",
        "unknown",
    ):
        assert words in card
    assert "secret" not in card + (tmp_path / "set" / "pipeline.yaml").read_text()
    assert yaml.safe_load((tmp_path / "set" / "pipeline.yaml").read_text())["name"] == "Facts"


def test_a_card_without_details_is_still_a_card(tmp_path: Path) -> None:
    write_card(tmp_path, {"pipeline": {"blocks": "nonsense"}, "usage": None, "counts": 3})

    assert (tmp_path / "README.md").read_text().startswith("---\npretty_name: Dataset\n")


def test_the_front_matter_has_what_the_hub_reads(tmp_path: Path) -> None:
    details = {
        "name": "Fäcts: 1",
        "license": "apache-2.0",
        "language": ["en", "de"],
        "rows": 12_000,
        "data": "train.csv",
    }

    write_card(tmp_path, details)

    assert yaml.safe_load((tmp_path / "README.md").read_text().split("---")[1]) == {
        "pretty_name": "Fäcts: 1",
        "license": "apache-2.0",
        "language": ["en", "de"],
        "size_categories": ["10K<n<100K"],
        "tags": ["synthetic", "penstock"],
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": "train.csv"}]}],
    }


@pytest.mark.parametrize(
    ("rows", "category"),
    [
        (0, "n<1K"),
        (999, "n<1K"),
        (1_000, "1K<n<10K"),
        (9_999_999, "1M<n<10M"),
        (10_000_000, "10M<n<100M"),
        (100_000_000, "100M<n<1B"),
        (10**12, "n>1T"),
    ],
)
def test_the_size_category_is_the_one_of_the_hub(tmp_path: Path, rows: int, category: str) -> None:
    write_card(tmp_path, {"rows": rows})

    matter = yaml.safe_load((tmp_path / "README.md").read_text().split("---")[1])
    assert matter["size_categories"] == [category]


def test_secrets_are_masked_and_words_that_resemble_them_are_not() -> None:
    masked = mask_secrets(
        {
            "api_key": "abc",
            "headers": [{"Authorization": "Bearer abcdefghijk"}],
            "url": "https://me:pass@host/x",
            "note": "use sk-abcdefghijklmnop1234 here",
            "max_tokens": 5,
            "token_count": "7",
            "password": "{{ password }}",
            "stop_token": 3,
        }
    )

    assert masked == {
        "api_key": "***",
        "headers": [{"Authorization": "***"}],
        "url": "https://***@host/x",
        "note": "use *** here",
        "max_tokens": 5,
        "token_count": "7",
        "password": "{{ password }}",
        "stop_token": 3,
    }
