"""What comes from others is data: no file is executed, no name becomes a path or markup, no port is open to others.

Sweep files with YAML that calls Python, names that leave the folder and labels with slashes are refused in
harness/test_mistakes.py; tables and reports of hostile names are in reports/test_hostile.py and reports/test_page.py.
"""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from zoombench.harness import cli, spec
from zoombench.harness.errors import CheckpointError, WeightsError
from zoombench.harness.ledger import Ledger
from zoombench.harness.sweepfile import Settings
from zoombench.harness.trial import run

ROOT = Path(__file__).parents[1]


class Attack:
    """Unpickled, it makes a file."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


@pytest.fixture
def attack(tmp_path):
    """A checkpoint that executes code where it is unpickled, and what is there once it has."""
    marker, path = tmp_path / "executed", tmp_path / "attack.pt"
    torch.save({"trial": Attack(marker), "ranks": [], "model": {"weight": Attack(marker)}}, path)
    return path, marker


def test_the_attack_works_where_a_reader_lets_it(attack):
    path, marker = attack
    torch.load(path, weights_only=False)
    assert marker.exists()


def test_a_checkpoint_that_executes_code_is_refused_and_not_executed(attack, sweep_file, tmp_path):
    path, marker = attack
    trial = spec.load(sweep_file()).trials[0]
    (tmp_path / "work").mkdir()
    path.rename(tmp_path / "work" / "checkpoint.pt")
    with pytest.raises(CheckpointError, match=r"checkpoint.pt cannot be read \(UnpicklingError\). Delete") as caught:
        list(run(trial, tmp_path / "work", Settings()))
    assert "weights_only" not in str(caught.value), "torch advises to execute it"
    assert not marker.exists()


def test_weights_that_execute_code_are_refused_and_not_executed(attack, sweep_file, capsys):
    from zoombench.baselines.layers.backbones import _read

    path, marker = attack
    with pytest.raises(WeightsError, match=r"attack.pt cannot be read \(UnpicklingError\)"):
        _read(str(path))
    budget = {"image_size": 16, "epochs": 1, "batch": 16, "task_network": "small", "task_weights": str(path)}
    sweep = sweep_file(methods={"uniform": {}}, datasets={"cluttered_digits": {}}, budgets={"b": budget})
    assert cli.main(["run", str(sweep), "--serial", "--results", str(path.parent / "results")]) == 2
    assert "attack.pt" in capsys.readouterr().err
    assert not marker.exists()


def executing(source):
    """Where a file reads in a way that can execute what it reads."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            modules = {name.split(".")[0] for name in names}
            found += sorted(modules & {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"})
        if isinstance(node, ast.Call):
            called, given = ast.unparse(node.func), {one.arg: ast.unparse(one.value) for one in node.keywords}
            found += [called] * (called in ("eval", "pd.read_pickle", "pandas.read_pickle", "torch.hub.load"))
            found += [called] * (called == "torch.load" and given.get("weights_only") != "True")
            found += [called] * (called == "np.load" and given.get("allow_pickle", "False") != "False")
            found += [called] * (
                called == "yaml.load" and given.get("Loader") not in ("yaml.SafeLoader", "_LabelsAreText")
            )
            found += [called] * (called in ("yaml.unsafe_load", "yaml.full_load", "yaml.load_all"))
            found += [called] * (given.get("shell") == "True")
    return found


FILES = sorted(
    path for folder in ("harness", "baselines", "datasets", "reports") for path in (ROOT / folder).rglob("*.py")
)


def test_no_file_of_ours_reads_in_a_way_that_executes_what_it_reads():
    assert len(FILES) > 80
    assert {str(path.relative_to(ROOT)): found for path in FILES if (found := executing(path.read_text()))} == {}


BAD_LINES = (
    "import pickle",
    "from joblib import load",
    "torch.load(path)",
    "torch.load(path, weights_only=False)",
    "np.load(path, allow_pickle=True)",
    "yaml.load(text, Loader=yaml.Loader)",
    "eval(text)",
    "run(words, shell=True)",
)


@pytest.mark.parametrize("line", BAD_LINES)
def test_the_check_above_finds_it(line):
    assert executing(line)


def test_the_one_yaml_loader_of_ours_is_a_safe_one():
    import yaml

    from zoombench.harness.sweepfile import _LabelsAreText

    assert issubclass(_LabelsAreText, yaml.SafeLoader)


@pytest.mark.parametrize("named", ["..", "../../etc", "/etc", "%2e%2e"])
def test_the_id_of_a_trial_is_no_path(named, tmp_path, capsys):
    Ledger.open(tmp_path)
    assert cli.main(["logs", named, "--results", str(tmp_path)]) == 2
    assert "is no trial" in capsys.readouterr().err


@pytest.mark.slow
def test_labels_become_neither_paths_nor_markup_nor_commands(sweep_file, zoombench, tmp_path):
    hostile = {"..": {"method": "tiny"}, "<img src=x onerror=alert(1)>": {"method": "tiny", "width": 5}}
    budget = {"image_size": 16, "epochs": 1, "batch": 16}
    path = sweep_file(
        methods=hostile, datasets={"$(touch pwned); [red]": {"dataset": "corners"}}, budgets={"~": budget}
    )
    before = set(tmp_path.iterdir())
    done = zoombench("run", path, "--serial")
    assert done.returncode == 0, done.stdout + done.stderr
    assert set(tmp_path.iterdir()) - before == {tmp_path / "results"}
    trials = {trial.id for trial in spec.load(path).trials}
    assert {path.name for path in (tmp_path / "results" / "trials").iterdir()} == trials
    page = (tmp_path / "results" / "sweeps" / "small" / "report.html").read_text()
    assert "&lt;img src=x" in page
    assert "<img src=x" not in page[: page.index('<script type="application/json"')]
    assert "$(touch pwned); [red]" in zoombench("plan", path).stdout


LISTENERS = """
import os, sys
from pathlib import Path

def family(pid):
    tasks = [(task / "children").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
    return {pid}.union(*map(family, " ".join(tasks).split()))

def sockets(pid):
    try:
        return {os.readlink(one) for one in Path(f"/proc/{pid}/fd").iterdir() if one.is_symlink()}
    except OSError:
        return set()

ours = set().union(*map(sockets, family(str(os.getpid()))))
for table in ("tcp", "tcp6"):
    for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A" and f"socket:[{fields[9]}]" in ours:
            print("listens", fields[1].split(":")[0])
"""
STRANGER = """
import sys
from ray._raylet import GcsClient
try:
    GcsClient(address=sys.argv[1]).internal_kv_keys(b"", None, timeout=5)
except Exception as error:
    print(type(error).__name__)
else:
    print("let in")
"""
OWN_RAY = f"""
import os, subprocess, sys
from zoombench.harness import sweep
with sweep._cluster(None):
    exec({LISTENERS!r})
    address = sweep.ray.get_runtime_context().gcs_address
    stranger = {{key: value for key, value in os.environ.items() if not key.startswith("RAY_")}}
    for token in ({{}}, {{"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}}):
        words = [sys.executable, "-c", {STRANGER!r}, address]
        print(subprocess.run(words, env=stranger | token, capture_output=True, text=True).stdout.strip())
    own = {{"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": os.environ["RAY_AUTH_TOKEN"]}}
    print(subprocess.run(words, env=stranger | own, capture_output=True, text=True).stdout.strip())
print(os.environ.get("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"), os.path.exists(os.path.expanduser("~/.ray")))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_ray_of_our_own_listens_on_the_loopback_interface_and_lets_nobody_else_in(tmp_path):
    environment = os.environ | {"HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", OWN_RAY], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    lines = done.stdout.splitlines()
    listening = [line.split()[1] for line in lines if line.startswith("listens")]
    assert len(listening) >= 4, done.stdout + done.stderr
    loopback = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}
    assert set(listening) <= loopback
    assert lines[len(listening) :] == ["AuthenticationError", "AuthenticationError", "let in", "None False"]
