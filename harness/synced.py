"""What of a folder is mirrored on a store: which files, as they are here, and which versions they have there."""

import json
import os
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

from .ledger import replacing, write_json
from .store import Object

NAME = re.compile(r"(?!.*\.tmp$)[A-Za-z0-9][A-Za-z0-9._-]*")
"""What the last part of an object's name must look like to become a file: no other folder can be named so."""
NOT_MIRRORED = ("lock", "synced.json")

Signature = tuple[int, int]
"""When a file was last written, in ns, and its length."""


@dataclass
class Synced:
    """Of each file, the version that the store has of it, and when and how long the file was then."""

    versions: dict[str, tuple[str, int, int]]

    @classmethod
    def read(cls, folder: Path) -> "Synced":
        """What was noted in a folder."""
        try:
            plain = json.loads((folder / "synced.json").read_bytes())
        except (FileNotFoundError, ValueError):
            return cls({})
        return cls({name: (version, modified, size) for name, (version, modified, size) in plain.items()})

    def write(self, folder: Path) -> None:
        """Note it in the folder."""
        write_json(folder / "synced.json", self.versions)

    def is_of(self, name: str, one: Object) -> bool:
        """Whether the file here was made from this version, or this version from it."""
        return name in self.versions and self.versions[name][0] == one.version

    def has(self, name: str, signature: Signature) -> bool:
        """Whether the store has the file as it is."""
        return name in self.versions and self.versions[name][1:] == signature


def is_safe(name: str) -> bool:
    """Whether a file or folder of this name may be mirrored."""
    return NAME.fullmatch(name) is not None and name not in NOT_MIRRORED


def pack_pictures(folder: Path) -> None:
    """One object for all pictures of a trial that is done with them: forty would make every listing long."""
    pictures = sorted((folder / "looks").glob("*.png")) if (folder / "facts.json").exists() else []
    newest = max((path.stat().st_mtime_ns for path in pictures), default=0)
    packed = signature_of(folder / "looks.zip")
    if pictures and (packed is None or packed[0] < newest):
        with replacing(folder / "looks.zip") as stream, zipfile.ZipFile(stream, "w") as archive:
            for path in pictures:
                archive.write(path, path.name)


def unpack_pictures(folder: Path) -> None:
    """What pack_pictures packed."""
    (folder / "looks").mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / "looks.zip") as archive:
        for name in archive.namelist():
            if is_safe(name):
                with replacing(folder / "looks" / name) as stream:
                    stream.write(archive.read(name))


def folders(folder: Path) -> list[str]:
    """The names of the folders in a folder."""
    return [entry.name for entry in os.scandir(folder) if entry.is_dir()] if folder.exists() else []


def signature_of(path: Path) -> Signature | None:
    """What tells a file from what it was before; None where there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_size


def signatures(folder: Path) -> dict[str, Signature]:
    """When each file of a folder was written, and its length."""
    if not folder.exists():
        return {}
    names = sorted(entry.name for entry in os.scandir(folder) if is_safe(entry.name) and not entry.is_dir())
    return {name: found for name in names if (found := signature_of(folder / name))}
