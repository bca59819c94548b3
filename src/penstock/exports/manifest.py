"""Which files an export made: a list in the dataset's card, so that no other file is replaced unasked."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from penstock.errors import BadInputError, StorageError

CARD_NAME = "README.md"

_LIST = re.compile(r"<!-- Files of this export, by SHA-256: (\{.*\}) -->\n")
_MAX_CARD_BYTES = 10_000_000


def add_file_list(card: str, folder: Path, files: Mapping[str, bytes | None]) -> str:
    """The card with the list of the export's files at its end, as a comment.

    ``files`` are the names of the new files with their content; None is a file that is on disk already. Files
    that earlier exports made in ``folder``, and that are unchanged, stay in the list.
    """
    digests = {
        name: digest for name, digest in read_file_list(folder).items() if _hash_file(folder / name) == digest
    }
    for name, content in files.items():
        digest = _hash_file(folder / name) if content is None else hashlib.sha256(content).hexdigest()
        digests |= {name: digest} if digest else {}
    digests[CARD_NAME] = hashlib.sha256(card.encode("utf-8", "replace")).hexdigest()
    return f"{card}<!-- Files of this export, by SHA-256: {json.dumps(digests, sort_keys=True)} -->\n"


def read_file_list(folder: Path) -> dict[str, str]:
    """The digests of the files that exports made in the folder, by name; empty without their card."""
    card = folder / CARD_NAME
    try:
        if card.stat().st_size > _MAX_CARD_BYTES:
            return {}
        text = card.read_bytes().decode()
    except (OSError, UnicodeDecodeError):
        return {}
    found = _LIST.search(text)
    if found is None:
        return {}
    try:
        digests: dict[str, str] = json.loads(found[1])
    except ValueError:
        return {}
    card_text = text[: found.start()] + text[found.end() :]
    unchanged = hashlib.sha256(card_text.encode()).hexdigest() == digests.pop(CARD_NAME, None)
    return {**digests, CARD_NAME: _hash_file(card)} if unchanged else digests


def refuse_foreign_files(targets: Iterable[Path], *, overwrite: bool = False) -> None:
    """Raise BadInputError when an export would replace a file that no export made, or that was changed.

    Empty files may be replaced. With ``overwrite`` only what is no ordinary file is refused.
    """
    for target in targets:
        if not (target.exists() or target.is_symlink()):
            continue
        if target.exists() and not target.is_file():
            raise BadInputError(f"{target} is not an ordinary file; choose another name for the export.")
        if not overwrite and not _is_replaceable(target):
            raise BadInputError(
                f"{target} exists and is not as an export left it; name another target, or use --overwrite.",
                {"file": str(target)},
            )


def _is_replaceable(target: Path) -> bool:
    if target.is_symlink():
        return False
    if target.stat().st_size == 0:
        return True
    digest = read_file_list(target.parent).get(target.name)
    return digest is not None and digest == _hash_file(target)


def _hash_file(path: Path) -> str:
    """The SHA-256 of the file's content; "" when there is none."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror or error}.") from error
