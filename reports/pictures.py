"""What each method looked at: the pictures of one trial per method, as data URIs for the page."""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

KINDS = (
    ("image", "image"),
    ("saliency", "saliency map"),
    ("grid", "sampling grid"),
    ("resampled", "resampled"),
)
EXAMPLES = 4
"""Examples shown of one method."""
LARGEST = 2_000_000
"""Bytes of all pictures together, so that the page stays below five megabytes."""
SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Picture:
    """One picture of one example."""

    source: str
    """A data URI."""
    alternative: str
    kind: str
    pixels: bool
    """Whether its pixels are the thing to see, rather than lines drawn over it."""


@dataclass(frozen=True)
class Looked:
    """The examples of one trial."""

    method: str
    dataset: str
    budget: str
    seed: int
    trial_id: str
    examples: tuple[tuple[str, tuple[Picture, ...]], ...]
    """A caption, possibly empty, and its pictures."""


def collect(
    table: pd.DataFrame, folders: Mapping[str, Path], reference: str
) -> tuple[tuple[Looked, ...], tuple[str, ...]]:
    """Pictures of the lowest finished seed of each method, data set and budget; and notes on what is left out.

    The reference comes first and methods that do not compete last.
    """
    done = table[(table["status"] == "done") & table["trial_id"].isin(list(folders))]
    first = done.sort_values("seed").drop_duplicates(["dataset", "budget", "method"])
    shown, notes, spent = [], [], 0
    rank = [
        (method != reference) + (not competes)
        for method, competes in zip(first["method"], first["competes"], strict=True)
    ]
    first = first.assign(rank=rank)
    for row in first.sort_values(["dataset", "budget", "rank", "method"]).to_dict("records"):
        folder = Path(folders[str(row["trial_id"])])
        name = f"{row['method']}, {row['dataset']}, {row['budget']}, seed {row['seed']}"
        examples = []
        for number in _numbers(folder)[:EXAMPLES]:
            pictures, problem, size = _example(folder, number, of=name, room=LARGEST - spent)
            spent += size
            notes += [problem] if problem else []
            if pictures:
                caption = folder / f"{number}.txt"
                text = caption.read_text(encoding="utf-8", errors="replace").strip() if caption.is_file() else ""
                examples.append((text, pictures))
        if examples:
            place = (str(row["method"]), str(row["dataset"]), str(row["budget"]))
            shown.append(Looked(*place, int(row["seed"]), str(row["trial_id"]), tuple(examples)))
        else:
            notes.append(f"{name}: no pictures to show.")
    return tuple(shown), tuple(dict.fromkeys(notes))


def _numbers(folder: Path) -> list[int]:
    if not folder.is_dir():
        return []
    found = (re.fullmatch(r"(\d+)-(?:image|saliency|grid|resampled)\.png", path.name) for path in folder.iterdir())
    return sorted({int(match.group(1)) for match in found if match})


def _example(folder: Path, number: int, *, of: str, room: int) -> tuple[tuple[Picture, ...], str, int]:
    pictures, spent = [], 0
    for kind, words in KINDS:
        path = folder / f"{number}-{kind}.png"
        if not path.is_file():
            continue
        content = path.read_bytes()
        if not content.startswith(SIGNATURE):
            return (), f"{of}: example {number} is left out, {path.name} is no PNG file.", 0
        spent += len(content)
        source = f"data:image/png;base64,{base64.b64encode(content).decode('ascii')}"
        pictures.append(
            Picture(source, f"{words[0].upper()}{words[1:]}: {of}, example {number}", words, kind != "grid")
        )
    if spent > room:
        return (), f"{of}: some examples are left out to keep the page small.", 0
    return tuple(pictures), "", spent
