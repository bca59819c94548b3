"""Mutation testing: change the source a little, and see whether the tests of its package notice.

    python -m tools.mutants --package gates --sample 60 --seed 1

Everything happens in a temporary copy of the working tree, which itself is only read. Each mutant is tested
by the package's own tests, those of the changed module first, until one fails. Samples are drawn by position:
a comparison with seven possible replacements is not drawn seven times as often as a removed call.

Exit status: 0 when the score reaches the threshold, 1 when it does not, 2 when the unchanged source fails.
"""

from __future__ import annotations

import argparse
import difflib
import os
import queue
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from pathlib import Path

from tools.mutation_operators import Mutation, gives_a_program, list_mutations

ROOT = Path(__file__).resolve().parent.parent

_PARTS_OF_PACKAGES = {"writer": ("src/penstock/storage/writer*", "tests/storage/test_writer*")}
"""Names for less than a package: globs of the sources and of the tests."""

_PYTEST = (
    *("-m", "pytest", "-x", "-q", "--no-header"),
    *("-p", "no:cacheprovider", "-p", "pytest_asyncio.plugin", "-p", "pytest_timeout"),
    *("-o", "addopts=--import-mode=importlib"),
)
"""Only the plugins that the tests need: loading all of them takes longer than many a package's tests."""

PACKAGES = ("jobs", "llm", "gates", "writer")
"""What is tested when no package is named."""


class Outcome(StrEnum):
    """What the tests said about a mutant."""

    NOTICED = "noticed"
    SURVIVED = "survived"
    TIMEOUT = "timeout"


@dataclass(frozen=True)
class Mutant:
    """A mutation of one file; ``path`` is relative to the root of the tree."""

    path: Path
    mutation: Mutation

    def diff(self, source: str) -> str:
        """The change as a unified diff with one line of context."""
        changed = self.mutation.apply(source)
        lines = difflib.unified_diff(source.splitlines(), changed.splitlines(), n=1, lineterm="")
        return "\n".join(list(lines)[2:])


@dataclass(frozen=True)
class TestFiles:
    """The test files of a package, the fastest first, and how long all of them take in seconds."""

    paths: tuple[Path, ...]
    seconds: float

    def ordered_for(self, source: Path) -> list[Path]:
        """All files, those that are named after the changed module first."""
        words = {source.stem, source.parent.name if source.stem == "__init__" else source.stem}
        return sorted(self.paths, key=lambda path: not any(word in path.stem for word in words))


class Workspace:
    """A copy of the working tree in which tests run."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join((str(root / "src"), str(root))),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        }

    def check(self) -> None:
        """Make sure that the copy is what Python imports, and compile it.

        Compiled files are checked by the hash of their source, so that a mutant of the same size and second
        as the original is never mistaken for it.
        """
        found = self._python("-c", "import penstock; print(penstock.__file__)").strip()
        if not Path(found).is_relative_to(self.root):
            raise SystemExit(f"The tests would import penstock from {found} instead of the copy {self.root}.")
        self._python("-m", "compileall", "-q", "--invalidation-mode", "checked-hash", "src", "tests")

    def run_tests(self, paths: Sequence[Path], timeout: float, *options: str) -> tuple[int | None, str]:
        """Run test files in this order until one fails; exit status (None after a timeout) and output."""
        with subprocess.Popen(
            [sys.executable, *_PYTEST, *options, *map(str, paths)],
            cwd=self.root,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                output, _ = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                return None, ""
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
            return process.returncode, output

    @contextmanager
    def mutated(self, mutant: Mutant) -> Iterator[None]:
        """Change the file for the duration of the block."""
        path = self.root / mutant.path
        original = path.read_text(encoding="utf-8")
        path.write_text(mutant.mutation.apply(original), encoding="utf-8")
        try:
            yield
        finally:
            path.write_text(original, encoding="utf-8")

    def _python(self, *arguments: str) -> str:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.root,
            env=self._environment,
            check=True,
            capture_output=True,
            text=True,
        ).stdout


@contextmanager
def copied_workspace() -> Iterator[Workspace]:
    """A temporary copy of all files that git does not ignore, with uncommitted changes."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    with tempfile.TemporaryDirectory(prefix="penstock-mutants-") as folder:
        for name in filter(None, listed.split("\0")):
            if (ROOT / name).is_file():
                target = Path(folder, name)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, target)
        yield Workspace(Path(folder).resolve())


def list_mutants(root: Path, package: str) -> list[list[Mutant]]:
    """The mutants of a package, grouped by position."""
    pattern = _PARTS_OF_PACKAGES.get(package, (f"src/penstock/{package}", ""))[0]
    groups = []
    for found in sorted(root.glob(pattern)):
        for path in sorted(found.rglob("*.py")) if found.is_dir() else [found]:
            mutations = list_mutations(path.read_text(encoding="utf-8"))
            for _, group in groupby(mutations, key=lambda mutation: mutation.span):
                groups.append([Mutant(path.relative_to(root), mutation) for mutation in group])
    return groups


def draw_sample(root: Path, package: str, size: int, seed: int) -> list[Mutant]:
    """Draw positions without repetition, and one mutant at each; in the order of the source."""
    chance = random.Random(seed)
    groups = list_mutants(root, package)
    chance.shuffle(groups)
    sample: list[Mutant] = []
    for group in groups:
        if len(sample) == size:
            break
        mutant = chance.choice(group)
        if gives_a_program(mutant.mutation, (root / mutant.path).read_text(encoding="utf-8")):
            sample.append(mutant)
    return sorted(sample, key=lambda mutant: (mutant.path, mutant.mutation.span))


def measure_tests(workspace: Workspace, package: str) -> TestFiles:
    """Run the package's tests on the unchanged source; ends the program when one fails."""
    pattern = _PARTS_OF_PACKAGES.get(package, ("", f"tests/{package}"))[1]
    paths = [
        path.relative_to(workspace.root)
        for found in sorted(workspace.root.glob(pattern))
        for path in (sorted(found.rglob("test_*.py")) if found.is_dir() else [found])
    ]
    if not paths:
        raise SystemExit(f"No tests at {pattern}.")
    report = workspace.root / "durations.xml"
    started = time.monotonic()
    status, output = workspace.run_tests(paths, 3600, f"--junitxml={report}")
    if status != 0:
        print(output[-3000:], file=sys.stderr)
        print(f"The tests of {package} fail without any change.", file=sys.stderr)
        raise SystemExit(2)
    seconds: defaultdict[str, float] = defaultdict(float)
    for case in ET.parse(report).iter("testcase"):
        seconds[case.get("classname", "")] += float(case.get("time", 0))

    def duration(path: Path) -> float:
        module = ".".join(path.with_suffix("").parts)
        return sum(spent for name, spent in seconds.items() if f"{name}.".startswith(f"{module}."))

    return TestFiles(tuple(sorted(paths, key=duration)), time.monotonic() - started)


def test_mutants(package: str, sample: int, seed: int, processes: int) -> list[tuple[Mutant, Outcome]]:
    """Test a sample of the package's mutants in as many copies of the tree as there are processes."""
    with ExitStack() as copies:
        workspaces: queue.SimpleQueue[Workspace] = queue.SimpleQueue()
        first = copies.enter_context(copied_workspace())
        first.check()
        mutants = draw_sample(first.root, package, sample, seed)
        tests = measure_tests(first, package)
        workspaces.put(first)
        for _ in range(processes - 1):
            workspace = copies.enter_context(copied_workspace())
            workspace.check()
            workspaces.put(workspace)
        timeout = 30 + 5 * tests.seconds * processes
        print(f"{package}: {len(mutants)} mutants; tests take {tests.seconds:.0f} s", file=sys.stderr)

        def test(mutant: Mutant) -> tuple[Mutant, Outcome]:
            workspace = workspaces.get()
            started = time.monotonic()
            with workspace.mutated(mutant):
                status, _ = workspace.run_tests(tests.ordered_for(mutant.path), timeout)
            workspaces.put(workspace)
            outcome = {None: Outcome.TIMEOUT, 0: Outcome.SURVIVED}.get(status, Outcome.NOTICED)
            place = f"{mutant.path}:{mutant.mutation.line}"
            spent = time.monotonic() - started
            print(f"{outcome:9}{spent:5.0f} s  {place} {mutant.mutation.operator}", file=sys.stderr)
            return mutant, outcome

        with ThreadPoolExecutor(processes) as pool:
            return list(pool.map(test, mutants))


def report(results: dict[str, list[tuple[Mutant, Outcome]]], threshold: float) -> bool:
    """Print every survivor and a table; whether each package reaches the threshold."""
    reached = True
    for tested in results.values():
        for mutant, outcome in tested:
            if outcome is Outcome.SURVIVED:
                source = (ROOT / mutant.path).read_text(encoding="utf-8")
                print(f"\n{mutant.path}:{mutant.mutation.line}  {mutant.mutation.operator}")
                print(mutant.diff(source))
    print(f"\n{'package':12}{'mutants':>9}{'noticed':>9}{'survived':>10}{'timeouts':>10}{'score':>8}")
    for package, tested in results.items():
        counts = Counter(outcome for _, outcome in tested)
        score = 100 * (1 - counts[Outcome.SURVIVED] / len(tested)) if tested else 100.0
        reached = reached and score >= threshold
        print(
            f"{package:12}{len(tested):>9}{counts[Outcome.NOTICED]:>9}"
            f"{counts[Outcome.SURVIVED]:>10}{counts[Outcome.TIMEOUT]:>10}{score:>7.0f}%"
        )
    return reached


def main() -> int:
    """Read the command line, test, and report."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--package", action="append", help=f"default: {', '.join(PACKAGES)}")
    parser.add_argument("--sample", type=int, default=60, help="mutants of each package")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--threshold", type=float, default=85, help="the least score, in per cent")
    arguments = parser.parse_args()
    results = {
        package: test_mutants(package, arguments.sample, arguments.seed, arguments.processes)
        for package in arguments.package or PACKAGES
    }
    return 0 if report(results, arguments.threshold) else 1


if __name__ == "__main__":
    sys.exit(main())
