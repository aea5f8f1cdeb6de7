"""What all tests share: shapes checked in signatures, a folder of test methods, sweep files in one line."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from jaxtyping import install_import_hook

from zoombench.tests.datasets.official import WRITERS

install_import_hook(["zoombench.baselines", "zoombench.datasets", "zoombench.harness.contract"], "beartype.beartype")

PLUGINS = Path(__file__).parent / "plugins"


@pytest.fixture(autouse=True)
def _test_methods_and_no_outside_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOOMBENCH_PATH", str(PLUGINS))
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_RUN_ID", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    for name in ("ZOOMBENCH_RESULTS", "ZOOMBENCH_DATA", "ZOOMBENCH_CACHE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with a small copy of every set that is read from disk, in its official form; not to be written to."""
    root = tmp_path_factory.mktemp("data")
    for write in WRITERS.values():
        write(root)
    return str(root)


@pytest.fixture
def sweep_file(tmp_path: Path) -> Callable[..., Path]:
    """Write a small sweep file, with these keys over the default ones; None leaves a key out."""

    def write(file: str = "small", **keys: Any) -> Path:
        content: dict[str, Any] = {
            "methods": {"tiny": {}},
            "datasets": {"corners": {}},
            "budgets": {"b": {"image_size": 16, "epochs": 2, "batch": 16}},
            "seeds": 1,
        } | keys
        path = tmp_path / f"{file}.yaml"
        path.write_text(yaml.safe_dump({k: v for k, v in content.items() if v is not None}, sort_keys=False))
        return path

    return write


@pytest.fixture
def zoombench(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command line as a user does: a process of its own, in a folder of its own."""

    def run(*words: str | Path, timeout: float = 300, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "zoombench.harness.cli", *map(str, words)],
            cwd=tmp_path,
            env=os.environ | environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return run


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked gpu run where there is one."""
    import torch

    if not torch.cuda.is_available():
        for item in items:
            if "gpu" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="no CUDA device here"))
