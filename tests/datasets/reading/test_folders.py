"""What lies under a data root: what is absent, which names are pictures, and digests that change with them."""

import gzip
import subprocess
import sys
from pathlib import Path

import pytest

from zoombench.datasets.reading.folders import absent, digest, found, picture_names, plain_or_packed
from zoombench.harness.errors import DataError

FILES, SOURCE = ("list.txt", "*/info.json"), "https://example.org: on request"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in (
        "b/2.JPEG",
        "b/10.jpg",
        "a folder/1.png",
        ".b/4.jpg",
        "b/.hidden.jpg",
        "b/readme.txt",
        "z.tif",
        "b/info.json",
    ):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).write_text(name)
    (tmp_path / "set" / "list.txt").write_text("1 2 3")
    return tmp_path


def test_what_is_absent_is_named_with_the_folder_and_the_source(root: Path) -> None:
    assert absent(str(root), "set", FILES, SOURCE) is None
    (root / "set" / "list.txt").unlink()
    message = f"{root / 'set'} has no list.txt. It comes from {SOURCE}."
    assert absent(str(root), "set", FILES, SOURCE) == message
    (root / "set" / "b" / "info.json").unlink()
    assert "has no list.txt, */info.json." in str(absent(str(root), "set", FILES, SOURCE))
    assert "no folder of datasets is named, the one that holds set/. It" in str(absent(None, "set", FILES, SOURCE))


def test_a_folder_that_may_not_be_read_is_not_said_to_lack_its_files(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("os.scandir", refuse)  # root may read what has no permissions
    assert absent(str(root), "set", ("list.txt",), SOURCE) == f"{root / 'set'} cannot be read: Permission denied."


def test_what_is_found_is_a_folder_or_an_error_of_the_dataset(root: Path) -> None:
    assert found("mine", str(root), "set", FILES, SOURCE) == root / "set"
    for nowhere, reason in ((None, "no folder of datasets is named"), (str(root / "set"), "has no list.txt")):
        with pytest.raises(DataError, match=f"^mine: .*{reason}"):
            found("mine", nowhere, "set", FILES, SOURCE)


def test_pictures_are_sorted_and_nothing_else_is_one(root: Path) -> None:
    assert picture_names(root / "set") == ["a folder/1.png", "b/10.jpg", "b/2.JPEG", "z.tif"]


def test_a_digest_of_files_changes_with_name_and_content_and_not_with_order(root: Path) -> None:
    folder = root / "set"
    first = digest(folder, files=["list.txt", "z.tif"])
    assert digest(folder, files=["z.tif", "list.txt"]) == first
    assert digest(folder, files=["list.txt"]) != first
    (folder / "list.txt").rename(folder / "other.txt")
    assert digest(folder, files=["other.txt", "z.tif"]) != first
    (folder / "list.txt").write_text("1 2 4")
    assert digest(folder, files=["list.txt", "z.tif"]) != first


def test_a_digest_of_pictures_knows_names_and_lengths_and_no_stray_files(root: Path) -> None:
    folder = root / "set"
    before = digest(folder, pictures=["a folder", "b"])
    (folder / "b" / "2.JPEG").write_text("another picture")
    first = digest(folder, pictures=["a folder", "b"])
    assert first != before
    (folder / "b" / "Thumbs.db").write_text("")
    assert digest(folder, pictures=["b", "a folder"]) == first
    (folder / "b" / "2.JPEG").rename(folder / "b" / "3.JPEG")
    assert digest(folder, pictures=["a folder", "b"]) != first


def test_a_packed_file_counts_as_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "table").write_text("1 2 3")
    plain = digest(tmp_path, files=[plain_or_packed(tmp_path, "table")])
    (tmp_path / "table.gz").write_bytes(gzip.compress((tmp_path / "table").read_bytes()))
    assert plain_or_packed(tmp_path, "table") == "table"
    (tmp_path / "table").unlink()
    assert plain_or_packed(tmp_path, "table") == "table.gz"
    assert digest(tmp_path, files=["table.gz"]) == plain


@pytest.mark.parametrize("name", ["gone.txt", "cut.gz", "cut.npz", "none.gz"])
def test_a_file_that_cannot_be_read_is_named(name: str, tmp_path: Path) -> None:
    content = {"cut.gz": gzip.compress(b"1 2 3" * 99)[:-12], "cut.npz": b"PK", "none.gz": b"no archive"}
    if name in content:
        (tmp_path / name).write_bytes(content[name])
    with pytest.raises(DataError, match=f"{name}: not readable: .*Fetch this file again"):
        digest(tmp_path, files=[name])


def test_settings_and_folders_are_read_without_torch() -> None:
    names = "zoombench.datasets.reading.folders, zoombench.datasets.reading.settings"
    code = f"import sys, {names}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd="/").returncode == 0
