"""What the README shows is what the code is."""

import re
from pathlib import Path

import pytest
import yaml

from zoombench.harness import cli, planned, spec
from zoombench.harness.ledger import Ledger

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def block(language: str, *, after: str) -> str:
    """The first code block of a language after some words."""
    match = re.search(rf"```{language}\n(.*?)```", README[README.index(after) :], re.DOTALL)
    assert match is not None
    return match.group(1)


def test_the_method_in_the_readme_is_the_file():
    assert block("python", after="## Add a method") == (ROOT / "baselines" / "uniform.py").read_text()


def test_the_sweep_in_the_readme_is_valid(tmp_path):
    path = tmp_path / "my_sweep.yaml"
    path.write_text(block("yaml", after="## Write a sweep"))
    sweep = spec.load(path)
    assert len(sweep.trials) == 3 * 2 * 2 * 5
    assert yaml.safe_load(sweep.resolved())["methods"]["wide_kernel"]["sigma"] == "paper"


def test_the_tuning_in_the_readme_is_valid(sweep_file, tmp_path):
    section = yaml.safe_load(block("yaml", after="## Tuning").replace("1e-", "1.0e-"))
    path = sweep_file(methods={"uniform": {}, "saliency_sampler": {}}, **section)
    sweep = planned.load(path, Ledger(tmp_path))
    assert sum(trial.purpose == "tuning" for trial in sweep.trials) == 2 * 20


def test_the_training_script_in_the_readme_runs(capsys):
    exec(compile(block("python", after="## The sampler in your own training script"), "README.md", "exec"), {})
    assert "torch.Size([2, 3, 224, 224])" in capsys.readouterr().out


@pytest.mark.parametrize("line", re.findall(r"^zoombench ([\w-]+)", README, re.MULTILINE))
def test_every_command_in_the_readme_exists(line, capsys):
    with pytest.raises(SystemExit) as exit_:
        cli.main([line, "--help"])
    assert exit_.value.code == 0


def test_every_file_the_readme_names_is_there():
    for name in re.findall(r"`((?:harness|baselines|datasets|reports|layers|docs)/[\w/.]+\.\w+)`", README):
        assert (ROOT / name).exists() or (ROOT / "baselines" / name).exists(), name
    for name in re.findall(r"\]\((docs/[\w.]+)\)", README):
        assert (ROOT / name).exists(), name
