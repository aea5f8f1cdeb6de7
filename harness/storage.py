"""Wait for a results folder that is away for a while: a share that is remounted, a server that restarts, a full disk.

A process says once which folder it waits for, and how long (`waited_for`); until that ends, whatever it reads or writes
there through `patiently` is tried again while the folder is away. Nothing else waits.

A folder is away where an operation on it fails as `PASSING` says, or finds nothing while the folder of the trials is
not there: a share that is not mounted leaves an empty folder, in which nothing must be begun anew.
"""

import contextlib
import errno
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TypeVar

from .errors import DiskFull, StorageLost

Found = TypeVar("Found")

FULL = {errno.ENOSPC, errno.EDQUOT}
PASSING = FULL | {
    *(errno.EIO, errno.EROFS, errno.EACCES, errno.EREMOTEIO, errno.ENODEV, errno.ENXIO, errno.ENOLINK),
    *(errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.ECONNRESET, errno.ECONNREFUSED),
    *(errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH),
}
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
"""Seconds between two tries; each pause is twice the one before."""


class _Patience:
    """How long this process waits for which folder, and how it stands; shared by its threads."""

    def __init__(self, root: Path, seconds: float, say: Callable[[str], None]) -> None:
        self.root, self.seconds, self.say = root, seconds, say
        self.is_over = False
        self._waiting = 0
        self._waited, self._since = 0.0, 0.0
        self._lock = threading.Lock()

    def is_away(self, path: Path, error: OSError) -> bool:
        """Whether this error of an operation on a path is one to wait for."""
        if not path.is_relative_to(self.root):
            return False
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return not self.root_is_there()
        return error.errno in PASSING

    def root_is_there(self) -> bool:
        """Whether the results folder is the one that holds the trials."""
        try:
            os.stat(self.root / "trials")
        except OSError:
            return False
        return True

    @contextlib.contextmanager
    def waiting(self, error: OSError) -> Iterator[None]:
        """Count a thread that waits; the first says so, and the last that it is over."""
        with self._lock:
            self._waiting += 1
            if self._waiting == 1:
                self._since = time.monotonic()
                if self.seconds and not self.is_over:
                    self.say(f"{self._what(error)} Waiting up to {self.seconds / 60:g} minutes for it.")
        is_back = True
        try:
            yield
        except BaseException as end:
            is_back = isinstance(end, OSError)  # what else is wrong is not that the folder is away
            raise
        finally:
            with self._lock:
                self._waiting -= 1
                if not self._waiting:
                    seconds = time.monotonic() - self._since
                    self._waited += seconds
                    if is_back:
                        self.say(f"The results folder {self.root} is back after {seconds:.0f} s.")

    def waited(self) -> float:
        """Seconds for which any thread has waited so far."""
        with self._lock:
            return self._waited + (time.monotonic() - self._since if self._waiting else 0.0)

    def lost(self, error: OSError) -> StorageLost:
        """What to raise once the patience is over."""
        self.is_over = True
        kind = DiskFull if error.errno in FULL else StorageLost
        return kind(
            f"{self._what(error)} It was waited for as long as settings.storage_patience_minutes says, "
            f"{self.seconds / 60:g}. Bring it back, then run again: trials go on from their checkpoints."
        )

    def _what(self, error: OSError) -> str:
        what = "has no room left" if error.errno in FULL else "is away"
        return f"The results folder {self.root} {what} ({error.strerror or error})."


_patience: _Patience | None = None


def _on_the_terminal(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@contextlib.contextmanager
def waited_for(root: Path, minutes: float, *, say: Callable[[str], None] = _on_the_terminal) -> Iterator[None]:
    """Wait for this results folder so long, in all threads; where it is waited for already, that goes on."""
    global _patience
    before = _patience
    if before is None or before.root != root:
        _patience = _Patience(root, 60 * minutes, say)
    try:
        yield
    finally:
        _patience = before


def root() -> Path | None:
    """The folder that this process waits for, if it does."""
    return _patience.root if _patience is not None else None


def patience_seconds() -> float:
    """How long this process waits for its results, wherever they are; 0 where it does not."""
    return 0.0 if _patience is None or _patience.is_over else _patience.seconds


def lose_patience() -> None:
    """From here on wait for nothing: whoever stops a sweep wants it to stop."""
    if _patience is not None:
        _patience.is_over = True


def clock() -> float:
    """Seconds on a clock that stands still while this process waits: no trial's own time."""
    return time.monotonic() - (_patience.waited() if _patience is not None else 0.0)


def patiently(path: Path, action: Callable[[], Found]) -> Found:
    """What the action gives, tried again while the folder that holds the path is away; it must bear being repeated.

    Raises StorageLost once the patience is over, DiskFull where there is no room; what else goes wrong is raised as it
    is, and everything is where nobody waits.
    """
    try:
        return action()
    except OSError as error:
        patience = _patience
        if patience is None or not patience.is_away(path, error):
            raise
        first = error
    began, pause = time.monotonic(), FIRST_PAUSE
    with patience.waiting(first):
        while True:
            left = began + patience.seconds - time.monotonic()
            if patience.is_over or left <= 0:
                raise patience.lost(first) from first
            time.sleep(min(pause, left))
            pause = min(2 * pause, LONGEST_PAUSE)
            try:
                return action()
            except OSError as error:
                if not patience.is_away(path, error):
                    raise
                first = error


def is_there(path: Path) -> bool:
    """Whether there is something at a path; waits where the folder around it is away."""
    try:
        patiently(path, lambda: os.stat(path))
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def remove(path: Path) -> None:
    """Remove a file, if it is there."""
    with contextlib.suppress(FileNotFoundError):
        patiently(path, path.unlink)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it."""

    def make() -> None:
        _expect_root_of(folder)
        folder.mkdir(parents=True, exist_ok=True)

    patiently(folder, make)


def open_new(path: Path, mode: str) -> IO[str]:
    """Open a file that may have to be made."""

    def open_it() -> IO[str]:
        _expect_root_of(path)
        return path.open(mode, encoding="utf-8")

    return patiently(path, open_it)


def _expect_root_of(path: Path) -> None:
    """Where the results folder is waited for, never make it anew, nor anything in what stands in its place."""
    patience = _patience
    if patience is not None and path.is_relative_to(patience.root) and not patience.root_is_there():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(patience.root))
