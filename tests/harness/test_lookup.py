"""The folder is the registry; what a file declares is read without torch."""

from itertools import pairwise

import pytest
import yaml

from zoombench.harness import cli, lookup
from zoombench.harness.errors import UnknownName, UsageError

GOOD = '''"""A method of one's own."""
from dataclasses import dataclass
import torch  # never executed when the file is only read
INPUTS = ("image", "boxes")
VERSION = 3
WIDTHS = torch.arange(3)
@dataclass(frozen=True)
class Config:
    """Settings."""
    width: int = 4  # a comment
def build(config, task, budget):
    pass
'''


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOOMBENCH_PATH", str(tmp_path))
    lookup.declaration.cache_clear()
    (tmp_path / "baselines").mkdir()
    yield tmp_path / "baselines"
    lookup.declaration.cache_clear()


def test_a_file_on_the_path_is_a_method(folder):
    (folder / "mine.py").write_text(GOOD)
    declared = lookup.declaration("method", "mine")
    assert declared.summary == "A method of one's own."
    assert declared.inputs == ("image", "boxes")
    assert declared.version == 3
    assert declared.competes
    assert declared.resolve({"width": 5}) == {"width": 5}
    assert "mine" in lookup.names("method")
    assert "uniform" in lookup.names("method")


def test_declarations_may_be_annotated(folder):
    (folder / "mine.py").write_text(GOOD.replace("VERSION = 3", "VERSION: int = 3\nCOMPETES: bool = False"))
    declared = lookup.declaration("method", "mine")
    assert declared.version == 3
    assert not declared.competes


def test_a_folder_on_the_path_that_is_not_there_is_said(folder, monkeypatch):
    monkeypatch.setenv("ZOOMBENCH_PATH", "/no/such/folder")
    with pytest.raises(UsageError, match="ZOOMBENCH_PATH names /no/such/folder, which is no folder"):
        lookup.names("method")


def test_comments_and_docstrings_do_not_change_a_fingerprint(folder):
    prints = []
    for text in (
        GOOD,
        GOOD.replace("# a comment", "# another").replace("Settings.", "All settings."),
        GOOD.replace("= 4", "= 5"),
    ):
        (folder / "mine.py").write_text(text)
        lookup.declaration.cache_clear()
        prints.append(lookup.declaration("method", "mine").fingerprint)
    assert prints[0] == prints[1] != prints[2]


def test_a_fingerprint_covers_what_the_file_shares_with_its_neighbours(folder):
    (folder / "layers").mkdir()
    (folder / "layers" / "kernel.py").write_text("SIGMA = 1\n")
    (folder / "mine.py").write_text("from .layers.kernel import SIGMA\n" + GOOD)
    before = lookup.declaration("method", "mine").fingerprint
    (folder / "layers" / "kernel.py").write_text("SIGMA = 2\n")
    lookup.declaration.cache_clear()
    assert lookup.declaration("method", "mine").fingerprint != before


def test_a_fingerprint_of_a_dataset_covers_its_reader(monkeypatch, tmp_path):
    for folder in ("datasets", "datasets/reading"):
        (tmp_path / folder).mkdir()
        for path in (lookup.ROOT / folder).glob("*.py"):
            (tmp_path / folder / path.name).write_text(path.read_text())
    monkeypatch.setattr(lookup, "ROOT", tmp_path)
    prints = []
    for _ in range(2):
        lookup.declaration.cache_clear()
        prints.append(
            {name: lookup.declaration("dataset", name).fingerprint for name in ("cub_200", "cluttered_digits")}
        )
        reader = tmp_path / "datasets" / "reading" / "images.py"
        reader.write_text(reader.read_text().replace("257", "256"))
    lookup.declaration.cache_clear()
    assert prints[0]["cub_200"] != prints[1]["cub_200"]
    assert prints[0]["cluttered_digits"] == prints[1]["cluttered_digits"]


def test_a_dataset_may_look_for_its_files_and_use_no_torch(monkeypatch, tmp_path):
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "mine.py").write_text(
        GOOD.replace("def build(config, task, budget)", "def build(config, root, split, image_size)")
        + "import os\nfrom pathlib import Path\ndef task(config):\n    pass\n"
        + "def missing(config, root):\n    return None if Path(root).exists() else os.fspath(root)\n"
    )
    monkeypatch.setenv("ZOOMBENCH_PATH", str(tmp_path))
    declared = lookup.declaration("dataset", "mine")
    assert declared.missing(None, "/no/such/folder") == "/no/such/folder"
    assert declared.missing(None, str(tmp_path)) is None
    assert lookup.declaration("dataset", "cluttered_digits").missing(None, None) is None
    lookup.declaration.cache_clear()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def (", "baselines/mine.py cannot be read: SyntaxError"),
        ('"""No settings."""', "baselines/mine.py has no class Config"),
        (GOOD.replace("width: int = 4", "width: int = nothing"), "NameError"),
        (GOOD.replace("(frozen=True)", ""), "Config must be a frozen dataclass"),
        (GOOD.replace("def build", "def make"), "baselines/mine.py has no function build"),
        (GOOD.replace("VERSION = 3", "VERSION = 2 + 1"), "VERSION on line 5 must be a literal"),
    ],
)
def test_a_broken_file_is_listed_with_the_reason_and_breaks_no_other(folder, text, message, capsys):
    (folder / "mine.py").write_text(text)
    with pytest.raises(UsageError, match=message):
        lookup.declaration("method", "mine")
    assert cli.main(["list", "methods"]) == 0
    said = capsys.readouterr().out
    assert message in said
    assert "saliency_sampler" in said


@pytest.mark.parametrize("field", ["width: int", "width: complex = 1j"], ids=["no default", "not of YAML"])
def test_settings_that_cannot_be_listed_hide_no_other_method(folder, field, capsys):
    (folder / "mine.py").write_text(GOOD.replace("width: int = 4", field))
    assert cli.main(["list", "methods"]) == 0
    said = capsys.readouterr().out
    assert "mine                     unavailable: " in said
    assert "uniform " in said


@pytest.mark.parametrize(("kind", "section"), [("method", "methods"), ("dataset", "datasets")])
def test_listed_settings_can_be_copied_into_a_sweep_file(kind, section, capsys):
    assert cli.main(["list", section]) == 0
    lines = capsys.readouterr().out.splitlines()
    for line, below in pairwise(lines):
        name, said = line.split(" ")[0], below.strip()
        if name and said.startswith("settings: ") and said != "settings: none":
            copied = yaml.safe_load("{" + said.removeprefix("settings: ") + "}")
            declared = lookup.declaration(kind, name)
            assert declared.resolve(copied) == declared.resolve({})


def test_an_unknown_name_is_answered_with_the_nearest_one():
    with pytest.raises(UnknownName, match=r"no baselines/unifrom.py here or in .*plugins. Did you mean uniform\?"):
        lookup.find("method", "unifrom")


def test_every_method_and_dataset_can_be_read_and_loaded():
    for kind in ("method", "dataset"):
        for name in lookup.names(kind):
            declared = lookup.declaration(kind, name)
            assert declared.summary.endswith((".", "?")), f"{name} says what it is for in its first line"
            assert callable(lookup.load(kind, name).build)
            assert declared.resolve({}) == {
                f: getattr(declared.config(), f) for f in declared.config.__dataclass_fields__
            }
