"""The OpenMP library that the embedded model's runtime needs, on a Linux that has none.

llama.cpp is linked against ``libgomp.so.1``, which a minimal Debian or a slim container lacks. The wheel of
``pykdtree`` carries a copy of it (253 KB, under GCC's runtime library exception), and only that file of the
package is used.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LIBRARY = "libgomp.so.1"
_CARRIER = "pykdtree"


def has_system_library() -> bool:
    """Whether the dynamic linker finds the library by itself; always true outside of Linux."""
    if not sys.platform.startswith("linux"):
        return True
    try:
        ctypes.CDLL(LIBRARY)
    except OSError:
        return False
    return True


def find_bundled_library() -> Path | None:
    """The copy in the installed carrier package, or None."""
    spec = importlib.util.find_spec(_CARRIER)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        libraries = Path(folder).with_name(f"{_CARRIER}.libs")
        if found := sorted(libraries.glob("libgomp*.so*")):
            return found[0]
    return None


@contextmanager
def child_environment() -> Iterator[dict[str, str]]:
    """The environment for a child process that loads the library; valid until the child has loaded it.

    It is this process's own, unless the system lacks the library and a bundled copy is there.
    """
    bundled = None if has_system_library() else find_bundled_library()
    if bundled is None:
        yield dict(os.environ)
        return
    with environment_with(bundled) as environment:
        yield environment


@contextmanager
def environment_with(bundled: Path) -> Iterator[dict[str, str]]:
    """This process's environment, with ``bundled`` on the library path under the name that is looked for."""
    with tempfile.TemporaryDirectory(prefix="penstock-openmp-") as folder:
        (Path(folder) / LIBRARY).symlink_to(bundled)
        paths = (folder, os.environ.get("LD_LIBRARY_PATH", ""))
        yield {**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(path for path in paths if path)}
