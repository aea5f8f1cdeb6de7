"""zoombench data: what is said of each set, and what is found wrong with a copy of one."""

import csv
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from zoombench.harness import cli, contents, lookup
from zoombench.tests.datasets.marks import write_marks


@pytest.fixture
def marks(tmp_path: Path) -> Path:
    """A root with a small set on disk that keeps all its promises."""
    contents._content.cache_clear()
    write_marks(tmp_path)
    return tmp_path


def edit(root: Path, change: Callable[[list[dict[str, Any]]], object]) -> None:
    """Change the annotation of the set."""
    path = root / "marks" / "marks.json"
    records = json.loads(path.read_text())
    change(records)
    path.write_text(json.dumps(records))


def image(root: Path, number: int) -> Path:
    return root / "marks" / "images" / f"{number}.png"


def say(capsys, *words) -> tuple[int, str, str]:
    """Exit code, standard output in one line a row, standard error."""
    code = cli.main(["data", *map(str, words)])
    told = capsys.readouterr()
    return code, told.out, told.err


def test_every_set_is_listed_with_task_access_and_whether_it_is_there(marks, capsys):
    code, out, _ = say(capsys, "list", "--root", marks)
    assert code == 0
    rows = {cells[0]: cells[1:] for line in out.splitlines() if (cells := [c.strip() for c in line.split("│")[1:-1]])}
    assert set(rows) == set(lookup.names("dataset"))
    assert rows["marks"] == ["classification, 3 classes", "disk", "gated", "yes"]
    assert rows["cub_200"] == ["classification, 200 classes", "disk", "open", "no"]
    assert rows["synthetic_gaze"][:2] == ["gaze", "made by code"]
    assert rows["synthetic_gaze"][3] == "yes"


def test_without_a_root_nobody_says_whether_a_set_is_there(capsys, monkeypatch, tmp_path):
    assert re.search(r"cub_200 .*│ – ", say(capsys, "list")[1])
    monkeypatch.setenv("ZOOMBENCH_DATA", str(tmp_path))
    assert re.search(r"cub_200 .*│ no ", say(capsys, "list")[1])


def test_a_file_that_cannot_be_read_is_listed_with_the_reason(capsys, monkeypatch, tmp_path):
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "mine.py").write_text('"""No settings."""')
    monkeypatch.setenv("ZOOMBENCH_PATH", str(tmp_path))
    code, out, _ = say(capsys, "list")
    assert code == 0
    assert "unavailable: datasets/mine.py has no class Config" in out
    assert "cub_200" in out


def test_info_says_what_a_set_is_its_terms_and_whether_it_is_there(marks, capsys):
    code, out, _ = say(capsys, "info", "marks", "--root", marks)
    assert code == 0
    said = dict(re.findall(r"^(\w[\w ]*?)  +(.*)$", out, re.MULTILINE))
    assert said["terms"] == "For tests only; no copies."
    assert said["access"] == "gated"
    assert said["get it"] == "https://example.org/marks: on request"
    assert said["counts"] == "15 train, 6 test, 3 classes"
    assert said["settings"] == "classes: 3"
    assert said["remark"] == "its marks are square."
    assert said["pictures"].startswith("left out of reports")
    assert said["there"] == "yes"
    assert re.fullmatch("[0-9a-f]{16}", said["content"])
    assert "marks/images/0.png ..." in out


def test_info_names_what_is_missing(tmp_path, capsys):
    code, out, _ = say(capsys, "info", "marks", "--root", tmp_path)
    assert code == 0
    assert f"there     {tmp_path / 'marks'} has no marks.json." in out


@pytest.mark.parametrize("words", [["list"], ["info", "cub_200"]])
def test_list_and_info_import_nothing_heavy(words):
    code = (
        f"import sys; from zoombench.harness import cli; cli.main(['data', *{words}]); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0


def test_a_set_that_keeps_its_promises_is_counted_and_exits_0(marks, capsys):
    code, out, _ = say(capsys, "check", "marks", "--root", marks)
    assert code == 0
    assert re.fullmatch(
        r"marks: 12 train, 3 validation, 6 test; 3 classes; [\d.e-]+ GB; "
        r"only headers were read \(--decode reads whole pictures\); content [0-9a-f]{16}\.\n",
        out,
    )


def test_nothing_is_checked_without_a_root_and_what_is_absent_is_wrong(tmp_path, capsys):
    code, _, err = say(capsys, "check", "marks")
    assert (code, err) == (
        2,
        "zoombench: marks is read from disk: give --root FOLDER, or set ZOOMBENCH_DATA.\n",
    )
    code, out, _ = say(capsys, "check", "marks", "--root", tmp_path)
    assert code == 1
    assert out.startswith(f"marks: {tmp_path / 'marks'} has no marks.json. It comes from https://example.org/marks")


def test_a_root_that_is_no_folder_of_data_sets_is_told(marks, capsys):
    page = marks / "page.html"
    page.touch()
    for root, told in (
        ("/nonexist", "/nonexist does not exist."),
        (page, f"{page} is no folder."),
        (marks / "marks", f"Give the folder above it: {marks}."),
    ):
        code, out, _ = say(capsys, "check", "marks", "--root", root)
        assert (code, out.count("\n")) == (1, 1)
        assert told in out
        assert told in say(capsys, "info", "marks", "--root", root)[1]
        code, _, err = say(capsys, "cache", "marks", "--root", root)
        assert code == 2
        assert told in err
    assert "under /nonexist, which does not exist" in say(capsys, "list", "--root", "/nonexist")[1]


def test_a_folder_that_cannot_be_read_is_said_and_the_other_sets_are_listed(marks, capsys, monkeypatch):
    is_file_there = Path.exists

    def refuse(path: Path, **options: Any) -> bool:
        if path.name == "marks.json":
            raise PermissionError(13, "Permission denied", str(path))
        return is_file_there(path, **options)

    monkeypatch.setattr(Path, "exists", refuse)  # root may read what has no permissions
    code, out, _ = say(capsys, "list", "--root", marks)
    assert code == 0
    assert re.search(r"marks .*│ unreadable", out)
    assert re.search(r"cub_200 .*│ no ", out)
    told = f"{marks / 'marks' / 'marks.json'} cannot be read: Permission denied."
    assert say(capsys, "check", "marks", "--root", marks)[:2] == (1, f"marks: {told}\n")
    assert told in say(capsys, "info", "marks", "--root", marks)[1]
    code, out, err = say(capsys, "cache", "marks", "--root", marks)
    assert (code, err.count("\n")) == (2, 1)
    assert told in err


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])


def double(root: Path) -> None:
    image(root, 20).write_bytes(image(root, 0).read_bytes())
    edit(root, lambda records: records[20].update(size=records[0]["size"]))


WRONG = {
    "no file": (lambda root: image(root, 4).unlink(), ["file", "marks/images/4.png", "No such file", "a file"]),
    "a folder": (
        lambda root: (image(root, 4).unlink(), image(root, 4).mkdir()),
        ["file", "marks/images/4.png", "Is a directory", "a file"],
    ),
    "an empty file": (lambda root: image(root, 4).write_bytes(b""), ["file", "marks/images/4.png", "0 bytes"]),
    "a web page": (
        lambda root: image(root, 4).write_text("<html>"),
        ["file", "marks/images/4.png", "UnidentifiedImageError", "a picture's header"],
    ),
    "another size": (
        lambda root: edit(root, lambda records: records[4].update(size=[32, 9])),
        ["size", "marks/images/4.png", "24 x 20", "32 x 9, as annotated"],
    ),
    "a label out of range": (
        lambda root: edit(root, lambda records: records[4].update(label=3)),
        ["label", "marks/images/4.png", "3", "0 to 2 (counted from 0)"],
    ),
    "no label": (
        lambda root: edit(root, lambda records: records[4].update(label=None)),
        ["label", "marks/images/4.png", "None", "0 to 2"],
    ),
    "a class that is not trained": (
        lambda root: edit(root, lambda records: [r.update(label=r["label"] % 2) for r in records[:12]]),
        ["class", "label 2 (counted from 0)", "none in train", "at least one"],
    ),
    "a split of another size": (
        lambda root: edit(root, lambda records: records.pop()),
        ["count", "test", "5", "6"],
    ),
    "a split without pictures": (
        lambda root: edit(root, lambda records: [r.update(split="test") for r in records[12:15]]),
        ["count", "validation", "none", "at least one"],
    ),
    "a split of no name": (
        lambda root: edit(root, lambda records: records[4].update(split="val")),
        ["split", "marks/images/4.png", "val", "train, validation, test"],
    ),
    "fewer classes": (
        lambda root: edit(root, lambda records: [r.update(label=r["label"] % 2) for r in records]),
        ["count", "classes", "2", "3"],
    ),
    "a box outside": (
        lambda root: edit(root, lambda records: records[4].update(boxes=[[3, 3, 26, 5]])),
        ["box", "marks/images/4.png", "3, 3, 26, 5", "inside 24 x 20"],
    ),
    "a box left of the picture": (
        lambda root: edit(root, lambda records: records[4].update(boxes=[[-2, 3, 6, 5]])),
        ["box", "marks/images/4.png", "-2, 3, 6, 5", "inside 24 x 20"],
    ),
    "a part outside": (
        lambda root: edit(
            root, lambda records: records[4].update(parts=[[-9, 9, False], [24.5, 3, True], [3, 25, True]])
        ),
        ["part", "marks/images/4.png", "part 3 at 3, 25", "inside 24 x 20"],
    ),
    "a box of no numbers": (
        lambda root: edit(root, lambda records: records[4].update(boxes=[[3, float("nan"), 6, 5]])),
        ["box", "marks/images/4.png", "3, nan, 6, 5", "finite numbers"],
    ),
    "a box without area": (
        lambda root: edit(root, lambda records: records[4].update(boxes=[[3, 3, 3, 5]])),
        ["box", "marks/images/4.png", "3, 3, 3, 5", "x0 < x1 and y0 < y1"],
    ),
    "an id twice": (
        lambda root: edit(root, lambda records: records[4].update(key=records[9]["key"])),
        ["id", "marks/images/9.png", "mark 9, as marks/images/4.png has", "an id of its own"],
    ),
    "a picture in two splits": (
        double,
        ["twice", "marks/images/20.png", "the bytes of marks/images/0.png (train)", "not in test too"],
    ),
    "an index that contradicts itself": (
        lambda root: edit(root, lambda records: records[4].pop("split")),
        ["index", "", "record 4 has no split", "files that agree"],
    ),
}


@pytest.mark.parametrize(("spoil", "row"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_a_line_of_a_table_and_exit_1(marks, tmp_path, capsys, spoil, row):
    spoil(marks)
    code, out, _ = say(capsys, "check", "marks", "--root", marks, "--csv", tmp_path / "wrong.csv")
    assert code == 1
    rows = list(csv.reader((tmp_path / "wrong.csv").read_text().splitlines()))
    assert rows[0] == ["what", "where", "found", "expected"]
    assert any(all(part in cell for part, cell in zip(row, found, strict=False)) for found in rows[1:]), rows
    kinds = {found[0] for found in rows[1:]}
    assert row[0] != "index" or kinds == {"index"}, "what follows from an index that is not read is not said"
    assert kinds <= {row[0], "count", "class"}, "nothing else is found wrong but what follows from it"
    assert f"marks: {len(rows) - 1} found wrong; all of them are in" in out
    shown = re.sub(r"\s+", "", out)
    assert re.sub(r"\s+", "", row[2]) in shown


def test_an_index_that_cannot_be_read_is_one_line_and_what_was_not_looked_at(marks, capsys):
    edit(marks, lambda records: records[0].pop("split"))
    code, out, _ = say(capsys, "check", "marks", "--root", marks)
    assert code == 1
    assert "marks: 1 found wrong" in out
    assert out.endswith("marks: mend this and check again: the files were not looked at.\n")
    (marks / "marks" / "marks.json").unlink()
    (marks / "marks" / "marks.json").mkdir()
    code, out, _ = say(capsys, "check", "marks", "--root", marks)
    assert code == 1
    assert re.search(r"index +│ \S+marks.json +│ Is a directory +│ a file that can be read", out)
    assert "marks: 1 found wrong" in out


def test_an_index_that_breaks_off_says_how_far_it_was_read(marks, capsys):
    edit(marks, lambda records: records[4].pop("split"))
    out = say(capsys, "check", "marks", "--root", marks)[1]
    assert out.endswith("marks: mend this and check again: only 4 train were looked at.\n")


def test_what_only_decoding_can_find_is_found_by_decoding(marks, capsys):
    cut_short(image(marks, 4))
    assert say(capsys, "check", "marks", "--root", marks)[0] == 0
    code, out, _ = say(capsys, "check", "marks", "--root", marks, "--decode")
    assert code == 1
    assert re.search(r"picture +│ marks/images/4.png", out)
    assert "21 decoded" in out
    code, out, _ = say(capsys, "check", "marks", "--root", marks, "--decode", 2)
    assert (code, "2 decoded" in out) == (0, True)


@pytest.mark.parametrize("content", [None, b"", b"<html>"])
def test_a_broken_file_is_one_line_with_decoding_too(marks, capsys, content):
    image(marks, 4).unlink()
    if content is not None:
        image(marks, 4).write_bytes(content)
    code, out, _ = say(capsys, "check", "marks", "--root", marks, "--decode")
    assert code == 1
    assert "marks: 1 found wrong" in out
    assert "20 decoded" in out
    assert "only headers" not in out


def test_a_pyramid_above_the_limit_of_pixels_is_whole_until_a_part_of_it_is_not(marks, capsys, monkeypatch):
    pytest.importorskip("pyvips")
    from zoombench.datasets.reading.pyramid import write

    pixels = np.random.default_rng(0).integers(0, 256, (900, 1200, 3), np.uint8)
    path = image(marks, 3)
    path.unlink()
    write(pixels, path.with_suffix(".tif"), compression="jpeg")
    edit(marks, lambda records: records[3].update(name="3.tif", size=[1200, 900], boxes=[]))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100_000)  # Pillow warns above it, and raises above twice as many
    code, out, _ = say(capsys, "check", "marks", "--root", marks, "--decode")
    assert (code, "21 decoded" in out) == (0, True), out
    edit(marks, lambda records: records[3].update(size=[900, 900]))
    code, out, _ = say(capsys, "check", "marks", "--root", marks)
    assert (code, "1200 x 900" in out) == (1, True), out
    edit(marks, lambda records: records[3].update(size=[1200, 900]))
    content = bytearray(path.with_suffix(".tif").read_bytes())
    content[20_000:420_000] = bytes(400_000)  # the start of a tile at least
    path.with_suffix(".tif").write_bytes(content)
    assert say(capsys, "check", "marks", "--root", marks)[0] == 0
    code, out, _ = say(capsys, "check", "marks", "--root", marks, "--decode")
    assert (code, "one that can be decoded" in out) == (1, True), out


def test_files_of_one_length_and_end_are_told_apart_by_what_they_hold(marks, capsys, monkeypatch):
    import hashlib

    read = []
    original = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda stream, name: read.append(1) or original(stream, name))
    assert say(capsys, "check", "marks", "--root", marks)[0] == 0
    assert not read, "no file had to be read whole"
    for at, number, value in ((0, 0, 1), (0, 20, 2), (-1, 0, 1), (-1, 20, 2)):
        if (at, number) == (-1, 0):
            assert say(capsys, "check", "marks", "--root", marks)[0] == 0
            assert not read, "their ends differ"
        pixels = np.zeros(8000, np.uint8)
        pixels[at] = value  # a BMP holds the last row first
        Image.fromarray(pixels.reshape(80, 100)).save(image(marks, number).with_suffix(".bmp"))
        edit(marks, lambda records, at=number: records[at].update(name=f"{at}.bmp", size=[100, 80]))
    assert say(capsys, "check", "marks", "--root", marks)[0] == 0
    assert len(read) == 2
    image(marks, 20).with_suffix(".bmp").write_bytes(image(marks, 0).with_suffix(".bmp").read_bytes())
    assert say(capsys, "check", "marks", "--root", marks)[0] == 1


def test_twins_within_a_split_are_nobodys_concern(marks, capsys):
    image(marks, 5).write_bytes(image(marks, 0).read_bytes())
    edit(marks, lambda records: records[5].update(size=records[0]["size"]))
    assert say(capsys, "check", "marks", "--root", marks)[0] == 0
    double(marks)
    code, out, _ = say(capsys, "check", "marks", "--root", marks)
    assert code == 1
    assert out.count("twice") == 1, "the third of them, which is in another split"


def test_files_that_are_not_there_are_no_copies_of_each_other(marks, capsys):
    for number in (0, 20):
        image(marks, number).unlink()
    code, out, _ = say(capsys, "check", "marks", "--root", marks)
    assert code == 1
    assert "marks: 2 found wrong" in out


def test_many_mistakes_of_a_kind_are_counted_and_a_file_holds_them_all(marks, tmp_path, capsys):
    for number in range(9):
        image(marks, number).write_bytes(b"")
    code, out, _ = say(capsys, "check", "marks", "--root", marks)
    assert code == 1
    assert out.count("0 bytes") == 5
    assert "and 4 more" in out
    assert "marks: 9 found wrong; --csv FILE writes all of them." in out
    say(capsys, "check", "marks", "--root", marks, "--csv", tmp_path / "wrong.csv")
    assert (tmp_path / "wrong.csv").read_text().count("0 bytes") == 9


def test_a_name_in_brackets_is_shown_as_it_is(marks, capsys):
    edit(marks, lambda records: records[4].update(name="[red]4[/red].png"))
    assert "marks/images/[red]4[/red].png" in say(capsys, "check", "marks", "--root", marks)[1]


def test_settings_that_were_asked_for_are_checked_and_official_counts_are_of_the_default_ones(marks, capsys):
    code, out, _ = say(capsys, "check", "marks", "--root", marks, "--set", "classes=2")
    assert code == 1
    assert re.search(r"label +│ marks/images/2.png +│ 2 +│ 0 to 1", out)
    edit(marks, lambda records: records.pop())
    out = say(capsys, "check", "marks", "--root", marks, "--set", "classes=4")[1]
    assert re.search(r"class +│ label 3 \(counted from 0\) +│ none in train", out)
    assert not re.search(r"│ count +│", out)


MISTAKES = {
    "an unknown set": (["check", "mark"], "no datasets/mark.py here or in"),
    "an unknown setting": (["info", "marks", "--set", "clases=3"], "unknown key 'clases'. Did you mean classes?"),
    "a setting of another type": (["info", "marks", "--set", "classes=a"], "classes: expected a valid integer"),
    "no setting": (["info", "marks", "--set", "classes"], "--set classes: expected KEY=VALUE"),
    "no YAML": (["info", "marks", "--set", "classes=["], "--set classes=[: '[' is not YAML"),
    "a file in a folder that is not there": (
        ["check", "cluttered_digits", "--csv", "/no/such/wrong.csv"],
        "--csv /no/such/wrong.csv cannot be written: No such file or directory. Name another file.",
    ),
}


@pytest.mark.parametrize(("words", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_line_and_exit_2(capsys, words, message):
    code, out, err = say(capsys, *words)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("count", ["0", "some"])
def test_so_many_pictures_are_decoded_as_there_can_be(capsys, count):
    with pytest.raises(SystemExit) as exit_:
        cli.main(["data", "check", "marks", "--decode", count])
    assert exit_.value.code == 2
    assert f"found {count}, expected a whole number above 0" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name", [name for name in lookup.names("dataset") if not lookup.declaration("dataset", name).on_disk]
)
def test_a_set_that_is_made_by_code_is_drawn_and_looked_at(name, capsys):
    code, out, _ = say(capsys, "check", name, "--decode", 8)
    assert code == 0, out
    assert out.endswith(" decoded.\n")


BROKEN = '''"""A set of one's own."""
from dataclasses import dataclass
import torch
from zoombench.harness.tasks import Classification
from zoombench.harness.errors import DataError
INPUTS = ("image", "boxes")
@dataclass(frozen=True)
class Config:
    """Settings."""
def task(config):
    return Classification(classes=2)
def build(config, root, split, image_size):
    image = torch.zeros(3, 4, 4, dtype=torch.uint8)
    image[0, 0, 0] = {"train": 1, "validation": 2, "test": 3}[split]
    boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 0.0, 0.0]])
    label = 0
    CHANGE
    return [({"image": image, "boxes": boxes}, label)]
'''
BAD_EXAMPLES = {
    "nothing": ("pass", None),
    "another tensor": ("boxes = None; return [({'image': image}, label)]", ["tensors", "image", "boxes, image"]),
    "a float image": ("image = image.float()", ["image", "float32 (3, 4, 4)", "uint8 (3, height, width)"]),
    "a label": ("label = 2", ["label", "2", "0 to 1"]),
    "a box outside": ("boxes[0, 2] = 5", ["box", "0, 0, 5, 4", "inside 4 x 4"]),
    "a box that is not finite": ("boxes[0, 2] = float('nan')", ["boxes", "not finite", "finite numbers"]),
    "the same example": ("image[0, 0, 0] = 7", ["twice", "the same as train example 0", "no example in two splits"]),
    "no examples": ("return []", ["count", "none", "at least one"]),
    "an error": ("raise DataError('it is torn')", ["split", "it is torn", "examples"]),
}


@pytest.mark.parametrize(("change", "row"), BAD_EXAMPLES.values(), ids=BAD_EXAMPLES)
def test_examples_that_break_the_contract_are_found(monkeypatch, tmp_path, capsys, change, row):
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "own.py").write_text(BROKEN.replace("CHANGE", change))
    monkeypatch.setenv("ZOOMBENCH_PATH", str(tmp_path))
    lookup.declaration.cache_clear()
    sys.modules.pop("zoombench_path.datasets.own", None)
    code, out, _ = say(capsys, "check", "own")
    lookup.declaration.cache_clear()
    assert code == (row is not None), out
    assert all(part in out for part in row or ())


@pytest.fixture
def caching():
    return pytest.importorskip("zoombench.datasets.reading.cache")


def test_a_cache_is_built_beside_its_terms_and_then_found(marks, caching, capsys):
    code, out, _ = say(capsys, "cache", "marks", "--root", marks)
    assert code == 0
    assert out.startswith("data set: marks\naccess: gated\n")
    assert "For tests only; no copies." in out
    assert re.search(r"marks: 21 pictures, which would be [\d.e-]+ GiB when decoded\.", out)
    store = caching.find(marks, "marks")
    assert out.endswith(f"cache: {store.folder}\n")
    assert store.read("marks/images/4.png") is not None
    terms = (store.folder / "TERMS.txt").read_text()
    assert "For tests only; no copies." in terms
    assert "the same terms hold for it" in terms
    again = say(capsys, "cache", "marks", "--root", marks, "--workers", 2)
    assert again[:2] == (0, f"{out.rstrip()}, which was there already\n")


@pytest.mark.parametrize("outside", [False, True])
def test_info_says_where_the_cache_is_if_there_is_one(marks, caching, capsys, monkeypatch, tmp_path, outside):
    if outside:
        monkeypatch.setenv("ZOOMBENCH_CACHE", str(tmp_path / "fast"))
    assert not re.search(r"^cache", say(capsys, "info", "marks", "--root", marks)[1], re.M)
    say(capsys, "cache", "marks", "--root", marks)
    assert re.search(
        rf"^cache +{caching.find(marks, 'marks').folder}$", say(capsys, "info", "marks", "--root", marks)[1], re.M
    )


def test_an_index_that_cannot_be_read_gives_no_cache_but_the_next_step(marks, caching, capsys):
    edit(marks, lambda records: records[4].pop("split"))
    code, _, err = say(capsys, "cache", "marks", "--root", marks)
    assert (code, err) == (
        2,
        "zoombench: marks: its index cannot be read: marks.json: record 4 has no split. "
        "`zoombench data check marks` says what is wrong.\n",
    )


def test_a_cache_above_the_limit_is_refused_before_anything_is_decoded(marks, caching, capsys):
    code, out, err = say(capsys, "cache", "marks", "--root", marks, "--limit-gib", "1e-6")
    assert code == 2
    assert "For tests only; no copies." in out
    assert "that is above the limit of 1e-06 GiB. Where the disk has room, raise it by --limit-gib" in err
    assert caching.find(marks, "marks") is None


def test_a_picture_that_cannot_be_decoded_is_said(marks, caching, capsys):
    cut_short(image(marks, 4))
    code, out, _ = say(capsys, "cache", "marks", "--root", marks)
    assert code == 1
    assert "1 picture could not be decoded, such as marks/images/4.png: " in out


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("synthetic_gaze", "synthetic_gaze has no pictures on disk: there is nothing to decode."),
        ("marks", "marks: no folder of datasets is named, the one that holds marks/. It comes from"),
    ],
)
def test_what_cannot_be_cached_is_one_line_and_exit_2(capsys, name, message):
    code, out, err = say(capsys, "cache", name)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("name", [n for n in lookup.names("dataset") if lookup.declaration("dataset", n).on_disk])
def test_a_small_copy_of_an_official_set_has_only_too_few_pictures_and_classes(name, data_root, tmp_path, capsys):
    code, out, _ = say(capsys, "check", name, "--root", data_root, "--decode", "--csv", tmp_path / "wrong.csv")
    wrong = [line.split(",")[0] for line in (tmp_path / "wrong.csv").read_text().splitlines()[1:]]
    assert set(wrong) <= {"count", "class"}, out
    assert code == bool(wrong)
    assert " decoded" in out


@pytest.mark.parametrize(("kept", "complained"), [(0, False), (3, False), (None, True)])
def test_a_validation_split_that_nobody_asked_for_is_not_missed(kept, complained, data_root, monkeypatch, capsys):
    if kept is None:  # asked for, and there is none
        module = lookup.load("dataset", "cub_200")
        records = module.index(module.Config(validation_per_class=0), data_root)
        monkeypatch.setattr(module, "index", lambda config, root: records)
        kept = 3
    _, out, _ = say(capsys, "check", "cub_200", "--root", data_root, "--set", f"validation_per_class={kept}")
    assert bool(re.search(r"count +│ validation +│ none", out)) == complained
