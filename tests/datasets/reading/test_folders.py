"""What lies under a data root: what is absent, which names are pictures, and digests that change with them."""

import subprocess
import sys
from pathlib import Path

import pytest

from zoombench.datasets.reading.folders import absent, digest_of_files, digest_of_names, found, picture_names
from zoombench.harness.errors import DataError

FILES, SOURCE = ("list.txt", "*/info.json"), "https://example.org: on request"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("b/2.JPEG", "b/10.jpg", "a folder/1.png", "b/.hidden.jpg", "b/readme.txt", "z.tif", "b/info.json"):
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


def test_what_is_found_is_a_folder_or_an_error_of_the_dataset(root: Path) -> None:
    assert found("mine", str(root), "set", FILES, SOURCE) == root / "set"
    for nowhere, reason in ((None, "no folder of datasets is named"), (str(root / "set"), "has no list.txt")):
        with pytest.raises(DataError, match=f"^mine: .*{reason}"):
            found("mine", nowhere, "set", FILES, SOURCE)


def test_pictures_are_sorted_and_nothing_else_is_one(root: Path) -> None:
    assert picture_names(root / "set") == ["a folder/1.png", "b/10.jpg", "b/2.JPEG", "z.tif"]


def test_a_digest_of_files_changes_with_name_and_content_and_not_with_order(root: Path) -> None:
    folder = root / "set"
    first = digest_of_files(folder, ["list.txt", "z.tif"])
    assert digest_of_files(folder, ["z.tif", "list.txt"]) == first
    assert digest_of_files(folder, ["list.txt"]) != first
    (folder / "list.txt").rename(folder / "other.txt")
    assert digest_of_files(folder, ["other.txt", "z.tif"]) != first
    (folder / "list.txt").write_text("1 2 4")
    assert digest_of_files(folder, ["list.txt", "z.tif"]) != first


def test_a_digest_of_names_is_blind_to_content_and_stray_files(root: Path) -> None:
    folder = root / "set"
    first = digest_of_names(folder)
    (folder / "b" / "2.JPEG").write_text("another picture")
    (folder / "b" / "Thumbs.db").write_text("")
    assert digest_of_names(folder) == first
    (folder / "b" / "2.JPEG").rename(folder / "b" / "3.JPEG")
    assert digest_of_names(folder) != first


def test_folders_are_read_without_torch() -> None:
    code = "import sys, zoombench.datasets.reading.folders; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd="/").returncode == 0
