"""Who may import whom: torch code knows neither Ray nor MLflow, the report knows none of the three."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ALLOWED = {
    "harness": {"harness", "reports"},
    "baselines": {"baselines", "harness"},
    "datasets": {"datasets", "harness"},
    "reports": {"reports", "harness.errors"},
}
KNOWS_RAY, KNOWS_MLFLOW, KNOWS_STORES = {"harness/sweep.py"}, {"harness/tracking.py"}, {"harness/store.py"}


def imports(path: Path) -> set[str]:
    """Every module that a file imports anywhere, relative ones as folder.module."""
    found = set()
    package = [*path.relative_to(ROOT).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) + 1 - node.level]
            names = [node.module] if node.module else [alias.name for alias in node.names]
            found |= {".".join([*base, name]) for name in names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


def files() -> list[Path]:
    return [path for folder in ALLOWED for path in sorted((ROOT / folder).rglob("*.py"))]


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_imports_only_what_its_folder_may(path):
    folder, name = path.relative_to(ROOT).parts[0], str(path.relative_to(ROOT))
    for imported in imports(path):
        top = imported.split(".")[0]
        if top in ALLOWED:
            assert any(imported == one or imported.startswith(f"{one}.") for one in ALLOWED[folder]), imported
        if top == "ray":
            assert name in KNOWS_RAY
        if top == "mlflow":
            assert name in KNOWS_MLFLOW
        if top == "fsspec":
            assert name in KNOWS_STORES
        if top in ("torch", "torchvision"):
            assert folder != "reports"


def test_the_harness_names_no_method_and_no_dataset():
    names = {path.stem for folder in ("baselines", "datasets") for path in (ROOT / folder).glob("*.py")} - {"__init__"}
    for path in sorted((ROOT / "harness").glob("*.py")):
        strings = {n.value for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Constant)}
        assert not strings & names, path


def loads(code: str, module: str) -> bool:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; {code}; sys.exit(7 if {module!r} in sys.modules else 0)"],
        check=False,
        cwd="/",
    )
    assert done.returncode in (0, 7), code
    return done.returncode == 7


@pytest.mark.parametrize("module", ["torch", "ray", "mlflow"])
def test_the_report_loads_neither_torch_nor_ray_nor_mlflow(module):
    assert not loads("import zoombench.reports.page", module)


@pytest.mark.parametrize("module", ["ray", "mlflow"])
def test_a_trial_loads_neither_ray_nor_mlflow(module):
    assert not loads("import zoombench.harness.trial, zoombench.harness.execution", module)


def test_results_in_a_folder_need_no_fsspec():
    look = "from zoombench.harness import cli, ledger; ledger.at({!r}).place"
    assert not loads(look.format("results"), "fsspec")
    assert loads(look.format("memory://results"), "fsspec")


def test_the_tests_above_can_fail():
    assert loads("import zoombench.harness.trial", "torch")
