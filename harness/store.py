"""Objects under a URL: listed, read, written whole, and created only where there is none. The only importer of fsspec.

A write is one object put in place at once: a reader sees all of it or none. Names are relative to the URL.
"""

import contextlib
import os
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from . import storage
from .errors import ResultsError, StorageLost, TrialBusy
from .ledger import replacing

PACKAGES = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "az": "adlfs",
}
"""What fsspec reads each kind of store with; all of them can create an object only where there is none."""
OWN = ("file", "memory")
"""What fsspec brings itself. A memory store is seen by one process alone: for tests."""
PATIENT = {"config_kwargs": {"connect_timeout": 10, "read_timeout": 60, "retries": {"max_attempts": 2}}}
"""For s3: give up on a silent server soon enough that whoever called can say so and try again."""
VERSIONS = ("ETag", "etag", "md5Hash")
TIMES = ("LastModified", "last_modified", "updated", "mtime", "created")

Result = TypeVar("Result")


class Object(NamedTuple):
    """What a listing says of an object."""

    version: str
    """Differs when the content does."""
    modified: float
    """Seconds since 1970 by the store's clock; 0 where the store does not say."""


class Store:
    """The objects under a URL."""

    def __init__(self, url: str) -> None:
        """Make ready; nothing is asked of the store yet. Raises ResultsError for a kind of URL that cannot be used."""
        import fsspec

        scheme, _, rest = url.partition("://")
        self.url = url.rstrip("/")
        if scheme not in PACKAGES and scheme not in OWN:
            raise ResultsError(
                f"results cannot be kept at {url}: {scheme}:// is not known. Expected a folder, or a URL that starts "
                f"with {', '.join(f'{known}://' for known in ('s3', 'gs', 'abfs', 'file'))}."
            )
        if not rest.strip("/"):
            raise ResultsError(f"results cannot be kept at {url}: it names no bucket. Write {scheme}://BUCKET/FOLDER.")
        options: dict[str, Any] = PATIENT if PACKAGES.get(scheme) == "s3fs" else {}
        try:
            self._fs, root = fsspec.core.url_to_fs(self.url, use_listings_cache=False, **options)
        except ImportError as error:
            package = PACKAGES[scheme]
            extra = " (or zoombench[s3])" if package == "s3fs" else ""
            raise ResultsError(
                f"results at {url} need the package {package}, which is not installed here: "
                f"pip install {package}{extra}."
            ) from error
        except Exception as error:
            raise ResultsError(f"results cannot be kept at {url}: {_said(error)}.") from error
        self._root = root.rstrip("/")
        self.is_away = False
        """Whether it was last said that the store does not answer."""
        self._is_folder = scheme == "file"

    def find(self, folder: str = "") -> dict[str, Object]:
        """Every object whose name starts with the folder, by name; one listing."""
        found = self._fs.find(self._path(folder), detail=True)
        return {
            path[len(self._root) + 1 :]: _object(info)
            for path, info in found.items()
            if path.startswith(f"{self._root}/") and not path.endswith(".tmp")
        }

    def read(self, name: str) -> bytes | None:
        """The content of an object; None where there is none."""
        try:
            content: bytes = self._fs.cat_file(self._path(name))
        except FileNotFoundError:
            return None
        return content

    def fetch(self, files: Mapping[str, Path]) -> None:
        """Read objects into files, many at once; each file is replaced when all of its object is there.

        An object that was deleted meanwhile leaves its file as it is.
        """
        names = {name: path.with_name(f"{path.name}.{os.getpid()}.tmp") for name, path in files.items()}
        try:
            for path in files.values():
                path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._fs.get([self._path(name) for name in names], [str(path) for path in names.values()])
            except FileNotFoundError:
                for name, path in names.items():
                    with contextlib.suppress(FileNotFoundError):
                        self._fs.get_file(self._path(name), str(path))
            for name, path in files.items():
                if names[name].exists():
                    os.replace(names[name], path)
        finally:
            for temporary in names.values():
                temporary.unlink(missing_ok=True)

    def put(self, name: str, content: bytes) -> None:
        """Write an object, all at once."""
        if self._is_folder:
            Path(self._path(name)).parent.mkdir(parents=True, exist_ok=True)
            with replacing(Path(self._path(name))) as stream:
                stream.write(content)
        else:
            self._fs.pipe_file(self._path(name), content)

    def put_file(self, name: str, path: Path) -> None:
        """Write an object with the content of a file, all at once; the file may be replaced meanwhile."""
        if self._is_folder:
            self.put(name, path.read_bytes())
        else:
            self._fs.put_file(str(path), self._path(name))

    def create(self, name: str, content: bytes) -> bool:
        """Write an object where there is none; False where there is one. Of many who try at once, one gets True.

        The content must be nobody else's: it tells an answer that was lost on its way from somebody who was faster.
        """
        try:
            if self._is_folder:
                _create_file(Path(self._path(name)), content)
            else:
                self._fs.pipe_file(self._path(name), content, mode="create")
        except Exception:
            found = self.read(name)
            if found is None:
                raise
            return found == content
        return True

    def delete(self, names: Iterable[str]) -> None:
        """Delete objects; those that are not there are no matter."""
        for name in names:
            try:
                self._fs.rm_file(self._path(name))
            except FileNotFoundError:
                continue

    def prepare(self) -> str:
        """Prove that objects can be written, and only once where that was asked; returns the ledger's own name.

        Raises ResultsError.
        """
        with self.refusing():
            self.create("ledger-id", uuid.uuid4().hex.encode())
            content = self.read("ledger-id") or b""
            keeps = not self._overwrites(content)
        if not keeps:
            raise ResultsError(
                f"the store at {self.url} overwrites an object that was to be created only where there is none (S3's "
                "If-None-Match), so two sweeps could run the same trial at once. Use another store, or a shared folder."
            )
        return content.decode()

    def _overwrites(self, content: bytes) -> bool:
        try:
            if self._is_folder:
                _create_file(Path(self._path("ledger-id")), content)
            else:
                self._fs.pipe_file(self._path("ledger-id"), content, mode="create")
        except Exception as error:
            if self.read("ledger-id") != content:
                raise
            if isinstance(error, PermissionError):
                raise
            return False
        return True

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Whatever the store does not do becomes a ResultsError."""
        try:
            yield
        except Exception as error:
            raise self.refused(error) from error

    def refused(self, error: Exception) -> ResultsError:
        """What to tell the user where the store did not do what was asked before anything started."""
        step = "Is the address right, and the store up? AWS_ENDPOINT_URL names an S3 store that is not Amazon's."
        if isinstance(error, FileNotFoundError):
            step = "Make the bucket first, or correct its name: zoombench makes none."
        elif isinstance(error, PermissionError) or "redential" in f"{type(error).__name__}{error}":
            step = (
                "Give credentials that may list, read, write and delete there, in the way of the store's own tools "
                "(AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or the role of the machine)."
            )
        return ResultsError(f"the results at {self.url} cannot be used: {_said(error)}. {step}")

    def lost(self, error: Exception, *, seconds: float) -> StorageLost:
        """What to say once a store has been away for too long."""
        return StorageLost(
            f"{self.url} has not answered for {seconds / 60:.1f} minutes: {_said(error)}. What was computed since is "
            "kept in this machine's mirror, and `run` goes on from it here, or from what the store has elsewhere."
        )

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root


def patiently(
    store: Store,
    action: Callable[[], Result],
    *,
    seconds: float | None = None,
    wait: Callable[[float], object] = time.sleep,
) -> Result:
    """Do it, again and again while the store is away, and say so once.

    Raises StorageLost after so many seconds, else as long as the process waits for its results, or once `wait` says
    that there is no time left.
    """
    patience = storage.patience_seconds() if seconds is None else min(seconds, storage.patience_seconds())
    began, pause = time.monotonic(), 0.5
    while True:
        try:
            result = action()
        except (StorageLost, TrialBusy):
            raise
        except Exception as error:
            away = time.monotonic() - began
            if away + pause > patience:
                raise store.lost(error, seconds=away) from error
            if not store.is_away:
                print(f"{store.url} does not answer ({error}); trying again", file=sys.stderr, flush=True)
                store.is_away = True
            if wait(pause):
                raise store.lost(error, seconds=away) from error
            pause = min(2 * pause, 30.0)
        else:
            if store.is_away:
                print(f"{store.url} answers again", file=sys.stderr, flush=True)
                store.is_away = False
            return result


def _create_file(path: Path, content: bytes) -> None:
    """Raises FileExistsError where the file is there; nobody sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        temporary.write_bytes(content)
        os.link(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _object(info: Mapping[str, Any]) -> Object:
    times = [info[key] for key in TIMES if info.get(key)]
    moment = times[0] if times else 0.0
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    seconds = moment.timestamp() if isinstance(moment, datetime) else float(moment)
    versions = [str(info[key]) for key in VERSIONS if info.get(key)]
    return Object(versions[0] if versions else f"{info.get('size')} {times} {info.get('ino')}", seconds)


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip() or 'no reason was given'}".rstrip(".")
