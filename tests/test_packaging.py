"""A built wheel holds one top-level name, and every file that a user needs."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy, as setuptools writes into the tree that it builds."""
    copy = tmp_path_factory.mktemp("tree") / "a folder of another name"
    leave = shutil.ignore_patterns(".venv", ".git", "results", "build", "*.egg-info", "__pycache__", ".*cache")
    shutil.copytree(ROOT, copy, ignore=leave)
    code = "import sys; from setuptools.build_meta import build_wheel; print(build_wheel(sys.argv[1]))"
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-c", code, str(out)], cwd=copy, check=True, capture_output=True)
    return zipfile.ZipFile(next(out.glob("*.whl")))


def test_a_wheel_holds_one_top_level_name(wheel):
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"zoombench"}


def test_a_wheel_holds_every_module_sweep_file_and_template(wheel):
    held = set(wheel.namelist())
    wanted = [
        path.relative_to(ROOT)
        for folder in ("harness", "baselines", "datasets", "reports")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".py", ".yaml", ".j2", ".css", ".js")
    ]
    assert len(wanted) > 20
    missing = [str(path) for path in wanted if f"zoombench/{path.as_posix()}" not in held]
    assert not missing


def test_an_installed_package_called_datasets_wins_over_our_folder(tmp_path):
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "__init__.py").write_text("whose = 'theirs'\n")
    code = f"import sys; sys.path.append({str(tmp_path)!r}); import datasets; print(datasets.whose)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "theirs\n"


def test_pins_name_versions_and_no_address():
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        assert line.startswith("#") or line.count("==") == 1, line
        assert "://" not in line
