"""Leases: locks that processes of several machines take on an object store, which has none of its own.

A lease is an object that is created only where there is none: <key>/000001, and for whoever takes it over <key>/000002
and so on; the highest number counts. So nothing but create-only writes is asked of the store, and a holder that was
taken for dead finds out by a number above its own. A holder renews its object from a thread. Whoever finds it unchanged
for STALE seconds of his own clock may take it over; at once, if it was held in the mirror whose lock he has.
"""

import contextlib
import json
import os
import re
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from .errors import StorageLost, TrialBusy
from .ledger import now
from .store import Store

STALE = 60.0
"""Seconds without renewal after which a lease may be taken over; it is renewed four times as often."""


@dataclass
class Lease:
    """A lease that this process holds."""

    store: Store
    key: str
    mirror: str
    """Name of the mirror that the holder works in."""
    number: int
    before: dict[str, Any]
    """What the last holder left; empty where there was none."""
    renewed: float = field(default_factory=time.monotonic)
    gone: str = ""
    """Who took the lease over, once somebody has."""
    _renewing: threading.Lock = field(default_factory=threading.Lock)

    @property
    def continues(self) -> bool:
        """Whether the last holder worked in the same mirror: then its files are the newest."""
        return self.before.get("mirror") == self.mirror

    def confirm(self) -> None:
        """Make sure that nobody can have taken the lease over; raises StorageLost if somebody has."""
        if self.gone or time.monotonic() - self.renewed > STALE / 2:
            self.renew()

    def renew(self) -> None:
        """Show that the holder lives; raises StorageLost if somebody has taken the lease over."""
        with self._renewing:
            began = time.monotonic()
            numbers = _numbers(self.store, self.key)
            if not self.gone and max(numbers, default=0) != self.number:
                taker = _content(self.store, self.key, max(numbers, default=0))
                self.gone = f"{taker.get('host', 'nobody known')}, process {taker.get('pid', 'unknown')}"
            if self.gone:
                raise StorageLost(
                    f"{self.store.url}/{self.key} was taken over by {self.gone}, as it was not renewed for "
                    f"{STALE:g} s. The trial goes on there."
                )
            self.store.put(numbers[self.number], _holder(self.mirror))
            self.renewed = began

    def release(self) -> None:
        """Let go; a store that does not answer now finds the lease stale later."""
        if not self.gone:
            with contextlib.suppress(Exception):
                self.store.put(f"{self.key}/{self.number:06d}", _holder(self.mirror, released=True))


@contextlib.contextmanager
def leased(store: Store, key: str, *, mirror: str, patience: float) -> Iterator[Lease]:
    """Hold a lease, and renew it from a thread; the caller holds the lock of the same name in the mirror.

    Waits for another holder as long as `patience` says and longer for one that shows no life; then raises TrialBusy.
    """
    lease = _acquire(store, key, mirror=mirror, patience=patience)
    ended = threading.Event()
    renewer = threading.Thread(target=_renew, args=(lease, ended), name="zoombench-lease", daemon=True)
    renewer.start()
    try:
        yield lease
    finally:
        ended.set()
        renewer.join()
        lease.release()


def is_held(store: Store, key: str) -> bool:
    """Whether the last holder has not let go; it may have died since it last renewed."""
    number = max(_numbers(store, key), default=0)
    return bool(number) and not _content(store, key, number).get("released")


def _renew(lease: Lease, ended: threading.Event) -> None:
    while not ended.wait(STALE / 4):
        try:
            lease.renew()
        except StorageLost:
            return
        except Exception:  # noqa: BLE001 - a store that is away; whoever pushes says so
            continue


def _acquire(store: Store, key: str, *, mirror: str, patience: float) -> Lease:
    began = time.monotonic()
    seen: tuple[int, dict[str, Any]] | None = None
    unchanged_since = began
    while True:
        number = max(_numbers(store, key), default=0)
        content = _content(store, key, number)
        if (number, content) != seen:
            seen, unchanged_since = (number, content), time.monotonic()
        is_stale = time.monotonic() - unchanged_since > STALE
        if not number or content.get("released") or content.get("mirror") == mirror or is_stale:
            lease = Lease(store, key, mirror, number + 1, content)
            if store.create(f"{key}/{number + 1:06d}", _holder(mirror)):
                older = [name for n, name in _numbers(store, key).items() if n <= number]
                with contextlib.suppress(Exception):  # they count no more: tidiness is worth no failure
                    store.delete(older)
                return lease
            continue
        is_alive = unchanged_since > began + STALE / 8  # it was renewed while we looked
        if time.monotonic() - began > patience and (is_alive or patience < STALE / 4):
            raise TrialBusy(
                f"{store.url}/{key} is held by {content.get('host')}, process {content.get('pid')}, after "
                f"{patience:g} s. Wait for the other sweep to end, then run again."
            )
        time.sleep(min(1.0, STALE / 20))


def _holder(mirror: str, **facts: Any) -> bytes:
    plain = {"mirror": mirror, "host": socket.gethostname(), "pid": os.getpid(), "time": now()}
    return json.dumps(plain | {"token": uuid.uuid4().hex} | facts).encode()


def _numbers(store: Store, key: str) -> dict[int, str]:
    return {int(name[len(key) + 1 :]): name for name in store.find(key) if re.fullmatch(r"\d{6}", name[len(key) + 1 :])}


def _content(store: Store, key: str, number: int) -> dict[str, Any]:
    """What a holder wrote; nothing where it cannot be told."""
    try:
        content: dict[str, Any] = json.loads(store.read(f"{key}/{number:06d}") or b"{}") if number else {}
    except ValueError:
        return {}
    return content
