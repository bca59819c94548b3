"""Short ways to write seed files, and to read why one is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.errors import BadInputError
from penstock.seeds import open_seeds, parse_upload


def write(path: Path, content: str | bytes) -> Path:
    """The file with this content."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def refusal(path: Path, content: str | bytes) -> str:
    """The message that refuses a seed file of this content."""
    with pytest.raises(BadInputError) as caught:
        list(open_seeds(write(path, content)))
    return caught.value.message


def upload_refusal(name: str, content: str) -> str:
    """The message that refuses an upload of this name and content."""
    with pytest.raises(BadInputError) as caught:
        parse_upload(name, content.encode())
    return caught.value.message
