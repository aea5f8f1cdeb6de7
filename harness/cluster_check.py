"""zoombench cluster-check: what each node of a Ray cluster has, and what would fail trials there or change scores."""

import argparse
import contextlib
import hashlib
import os
import platform
import secrets
import shutil
import socket
import sys
from importlib import metadata
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from . import contents, lookup, planned, preflight
from .errors import ResultsError
from .ledger import Ledger, at
from .spec import Sweep
from .store import Store
from .sweepfile import Data

if TYPE_CHECKING:
    from .sweep import Node

DONE, WRONG = 0, 1
CLOCK_SECONDS = 2.0
"""Clocks may differ by so much: events and scores of one trial come from several nodes and are put in order by time."""
FREE_GIB = 1.0
"""Less free space than this, and checkpoints and predictions of a few trials fill the disk."""
COLUMNS = ("CPUs", "GPUs", "Python", "zoombench", "torch", "CUDA", "Ray", "results", "data", "clock", "free")
OF_FOLDER = "Mount the file system of the results there too, under the same path."
OF_STORE = (
    "What the store needs there (its address, such as AWS_ENDPOINT_URL, credentials, its package) must be set before "
    "`ray start` on that node."
)
INSTALL = "Install the driver's version there: the same commit, `make install`, and start Ray again."


def check_cluster(options: argparse.Namespace) -> int:
    """One row a node; the exit code is 1 if anything is wrong."""
    ledger = at(options.results).prepared()
    ledger.refresh()
    sweep = planned.load(options.sweep, ledger) if options.sweep else None
    driver, nodes, written = _ask(ledger, _of_data(sweep), address=options.address)
    cuda = next((node.facts["cuda"] for node in nodes if node.facts.get("gpus")), "")
    table = Table(title=Text(f"{_nodes(len(nodes))} of {options.address or 'a Ray of our own'}"), title_justify="left")
    for column in ("node", *COLUMNS, "ZOOMBENCH_DATA"):
        table.add_column(column, overflow="fold")
    table.add_row("driver", *_cells(driver, {}), Text(driver["data_root"]))
    wrong = [f"driver: {said}" for key, said in _faults(driver, driver).items() if key in ("results", "free")]
    wrong += [
        f"driver: data: the index files of {label} are not here, and the ids of trials hold their hash."
        for label in (preflight.untold(sweep.runnable) if sweep else ())
    ]
    for node in nodes:
        name = f"{node.host} ({node.id[:6]})"
        if node.error:
            table.add_row(name, f"{node.cpus:g}", f"{node.gpus:g}", Text("no answer !", style="red"))
            wrong.append(f"{name}: does not answer: {node.error} Is zoombench installed there, and is it this one?")
            continue
        faults = _faults(node.facts, driver) | _faults_of_node(node, written, cuda=cuda)
        if not node.cpus:
            faults.pop("data", None)  # it runs no trials, as the head of a cloud's cluster
        cells = _cells(node.facts | {"clock": f"{node.clock_offset:+.2f} s", "cpus": f"{node.cpus:g}"}, faults)
        table.add_row(name, *cells, Text(node.facts["data_root"]))
        wrong += [f"{name}: {said}" for said in faults.values()]
    if not any(node.cpus for node in nodes):
        wrong.append(
            "no node that is there now runs trials (all have 0 CPUs). Workers that an autoscaler starts come when "
            "trials wait: check again once one is there."
        )
    Console(width=None if sys.stdout.isatty() else 240).print(table)
    print("\n".join(wrong) or "Every node has what the driver has.")
    return WRONG if wrong else DONE


def _ask(
    ledger: Ledger, of_data: dict[str, Any], *, address: str | None
) -> tuple[dict[str, Any], list["Node"], set[str]]:
    """What the driver and each node have, and the names of what the nodes wrote into the results."""
    from . import sweep as on_ray

    store, folder, secret = _objects(ledger.place), f".cluster-check-{secrets.token_hex(8)}", secrets.token_hex(16)
    question = of_data | {"place": ledger.place, "folder": folder, "secret": secret}
    try:
        with store.refusing():
            store.put(f"{folder}/token", secret.encode())
        driver, nodes = look(question), on_ray.ask_nodes(look, question, address=address)
        with store.refusing():
            return driver, nodes, {name.rpartition("/")[2] for name in store.find(folder)}
    finally:
        ledger.forget_folder(folder)


def look(question: dict[str, Any]) -> dict[str, Any]:
    """What the machine that this runs on has, and how it sees the results folder and the data."""
    import torch

    from .execution import git_commit

    count = torch.cuda.device_count()
    seen = [torch.cuda.get_device_properties(index) for index in range(count)]
    commit = git_commit()
    return {
        "host": socket.gethostname(),
        "cpus": str(os.cpu_count()),
        "gpus": [f"{one.name} {one.total_memory / 2**30:.0f} GiB" for one in seen],
        "python": platform.python_version(),
        "zoombench": " ".join(filter(None, (metadata.version("zoombench"), commit[:7], commit[40:]))),
        "code": _code(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda or "none",
        "ray": metadata.version("ray"),
        "data_root": os.environ.get("ZOOMBENCH_DATA", ""),
        "data": {label: _state(label, one, question) for label, one in question["data"].items()},
    } | _seen_results(question)


def _of_data(sweep: Sweep | None) -> dict[str, Any]:
    """The data sets that the trials of a sweep read from disk, and where they are said to lie."""
    if sweep is None:
        return {"data": {}, "where": {}}
    chosen = {trial.dataset.label: trial.dataset for trial in sweep.runnable}
    wanted = {
        label: {"name": one.name, "config": one.config, "content": one.content}
        for label, one in chosen.items()
        if lookup.declaration("dataset", one.name).on_disk
    }
    return {"data": wanted, "where": sweep.settings.data.model_dump()}


def _state(label: str, wanted: dict[str, Any], question: dict[str, Any]) -> str:
    """`same`, or what is wrong with a data set on this machine."""
    folder = Data(**question["where"]).folder(label, wanted["name"])
    declared = lookup.declaration("dataset", wanted["name"])
    absent = declared.missing(declared.config(**wanted["config"]), folder)
    if absent:
        return f"absent: {absent}"
    found = contents.content(wanted["name"], wanted["config"], folder)
    if found == wanted["content"]:
        return "same"
    return f"other: what {folder} holds has the fingerprint {found or '(unreadable)'}, not {wanted['content']}"


def _seen_results(question: dict[str, Any]) -> dict[str, Any]:
    """Whether the driver's token is here, and another can be put beside it; the name of that other."""
    place, answer, secret = question["place"], secrets.token_hex(8), question["secret"].encode()
    seen: dict[str, Any] = {"place": place, "results": "same", "answer": answer, "free": 0.0}
    try:
        root = at(place).root
        if not root.is_dir():
            return seen | {"results": f"there is no {root}"}
        seen["free"] = shutil.disk_usage(root).free / 2**30
        store = _objects(place)
        with store.refusing() if _is_url(place) else contextlib.nullcontext():
            if store.read(f"{question['folder']}/token") != secret:
                return seen | {"results": f"{place} is another folder than the driver's"}
            store.put(f"{question['folder']}/{answer}", secret)
    except OSError as error:
        return seen | {"results": f"{place} cannot be read and written: {error.strerror or error}"}
    except ResultsError as error:
        return seen | {"results": str(error).rstrip(".")}
    return seen


def _objects(place: str) -> Store:
    """The results as objects, whether they are under a URL or in a folder."""
    return Store(place if _is_url(place) else f"file://{place}")


def _is_url(place: str) -> bool:
    return "://" in place


def _code() -> str:
    """A hash of the code that trials run: versions and commits do not tell of edits."""
    told = hashlib.sha256()
    for folder in ("harness", "baselines", "datasets"):
        for path in sorted((lookup.ROOT / folder).rglob("*.py")):
            told.update(f"{path.relative_to(lookup.ROOT)}\0".encode() + path.read_bytes() + b"\0")
    return told.hexdigest()


def _faults(facts: dict[str, Any], driver: dict[str, Any]) -> dict[str, str]:
    """What is wrong with a machine, with the next step, by the column that shows it."""
    faults = {}
    for key, title in (("python", "Python"), ("torch", "torch"), ("ray", "Ray")):
        if facts[key].split("+")[0] != driver[key].split("+")[0]:  # of torch, the build for another CUDA may differ
            faults[key] = f"{title} {facts[key]}, and the driver has {driver[key]}. {INSTALL}"
    if facts["code"] != driver["code"]:
        faults["zoombench"] = (
            f"other code of zoombench ({facts['zoombench']}) than the driver's ({driver['zoombench']}). {INSTALL}"
        )
    if facts["results"] != "same":
        faults["results"] = f"results: {facts['results']}. {OF_STORE if _is_url(driver['place']) else OF_FOLDER}"
    elif facts["free"] < FREE_GIB:
        faults["free"] = (
            f"{facts['free']:.1f} GiB free for results, expected {FREE_GIB:g}. Free some, or give --results, or "
            "ZOOMBENCH_CACHE where they are on a store."
        )
    absent = [f"{label}: {state}" for label, state in facts["data"].items() if state != "same"]
    if absent:
        faults["data"] = (
            f"data: {'; '.join(absent)}. Put the same copy there, and set ZOOMBENCH_DATA to its folder before "
            "`ray start` on that node, or data.root in the sweep file where all nodes have one path."
        )
    return faults


def _faults_of_node(node: "Node", written: set[str], *, cuda: str) -> dict[str, str]:
    """What can be wrong with a node and not with the driver."""
    facts, faults = node.facts, {}
    if facts["results"] == "same" and facts["answer"] not in written:
        faults["results"] = (
            "results: what this node wrote does not appear at the driver. Mount the folder, or reach the "
            "store, without caches."
        )
    if len(facts["gpus"]) < node.gpus:
        faults["gpus"] = (
            f"Ray offers {node.gpus:g} GPUs, and torch sees {len(facts['gpus'])}. Look at `nvidia-smi` there, and "
            "whether that torch is built for CUDA."
        )
    if facts["gpus"] and facts["cuda"] != cuda:
        faults["cuda"] = f"torch for CUDA {facts['cuda']}, and another node has it for {cuda}. {INSTALL}"
    if abs(node.clock_offset) > CLOCK_SECONDS:
        faults["clock"] = (
            f"its clock is {node.clock_offset:+.1f} s off the driver's. Keep time by NTP (chrony) on both."
        )
    return faults


def _cells(facts: dict[str, Any], faults: dict[str, str]) -> list[Text]:
    data = ", ".join(f"{label}: {state.split(':')[0]}" for label, state in facts["data"].items())
    shown = {
        "gpus": ", ".join(f"{facts['gpus'].count(one)} x {one}" for one in dict.fromkeys(facts["gpus"])) or "0",
        "results": "same" if facts["results"] == "same" else "wrong",
        "data": data or "none asked",
        "clock": facts.get("clock", ""),
        "free": f"{facts['free']:.0f} GiB",
    }
    keys = [column.lower() for column in COLUMNS]
    cells = {key: shown.get(key) or facts.get(key, "") for key in keys}
    return [Text(f"{text} !", style="red") if key in faults else Text(text) for key, text in cells.items()]


def _nodes(count: int) -> str:
    return f"{count} node{'' if count == 1 else 's'}"
