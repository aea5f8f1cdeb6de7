"""What each method looked at: the pictures of one trial per method, as data URIs for the page."""

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from .claims import Cell

KINDS = (
    ("image", "image"),
    ("saliency", "saliency map"),
    ("grid", "sampling grid"),
    ("resampled", "resampled"),
)
EXAMPLES = 4
"""Examples shown of one method."""
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
    table: pd.DataFrame,
    folders: Mapping[str, Path],
    cells: Sequence[Cell],
    *,
    predictions: Mapping[str, Path] | None = None,
    room: int,
) -> tuple[tuple[Looked, ...], tuple[str, ...]]:
    """Pictures of the lowest finished seed of each method of the cells; and notes on what is left out for lack of room.

    room is how many bytes of PNG the page has left for them. predictions maps a trial_id to a parquet file with columns
    example and score. Of the examples with pictures, those come first where the method and the reference differ most,
    then its best and its worst; without it, the first ones.
    """
    done = table[(table["status"] == "done") & table["trial_id"].isin(list(folders))]
    first = done.sort_values("seed").drop_duplicates(["dataset", "budget", "method"])
    trials = {(str(r["dataset"]), str(r["budget"]), str(r["method"])): r for r in first.to_dict("records")}
    shown, notes, spent = [], [], 0
    for cell in cells:
        base = _scored(trials.get((cell.dataset, cell.budget, cell.reference)), predictions)
        for entry in cell.entries:
            row = trials.pop((cell.dataset, cell.budget, entry.method), None)
            if row is None:
                continue
            folder = Path(folders[str(row["trial_id"])])
            name = f"{entry.method}, {cell.title}, seed {row['seed']}"
            mine = base if entry.method == cell.reference else _scored(row, predictions)
            examples = []
            for number, words in _chosen(_numbers(folder), mine, base, cell, entry.method)[:EXAMPLES]:
                pictures, problem, size = _example(folder, number, of=name, room=room - spent)
                spent += size
                notes += [problem] if problem else []
                if pictures:
                    caption = folder / f"{number}.txt"
                    text = caption.read_text(encoding="utf-8", errors="replace").strip() if caption.is_file() else ""
                    examples.append((". ".join(part for part in (words, text) if part), pictures))
            if examples:
                place = (entry.method, cell.dataset, cell.budget)
                shown.append(Looked(*place, int(row["seed"]), str(row["trial_id"]), tuple(examples)))
            else:
                notes.append(f"{name}: no pictures to show.")
    return tuple(shown), tuple(dict.fromkeys(notes))


def _scored(row: Mapping[Any, Any] | None, predictions: Mapping[str, Path] | None) -> dict[int, float]:
    """Score of each test example of a trial; nothing where there is no such file."""
    path = (predictions or {}).get(str(row["trial_id"])) if row else None
    if path is None or not path.is_file():
        return {}
    frame = pd.read_parquet(path, columns=["example", "score"])
    return {int(example): float(score) for example, score in zip(frame["example"], frame["score"], strict=True)}


def _chosen(
    numbers: list[int], mine: Mapping[int, float], base: Mapping[int, float], cell: Cell, method: str
) -> list[tuple[int, str]]:
    """Numbers of the examples to show, with what is to say of each, in the order of the page."""
    sign = 1.0 if cell.metric.higher_is_better else -1.0
    known = [number for number in numbers if number in mine]
    if not known:
        return [(number, "") for number in numbers]
    gain = {n: sign * (mine[n] - base[n]) for n in known if n in base}
    wanted = [pick(gain, key=lambda n: gain[n]) for pick in (max, min) if any(gain.values())]
    wanted += [pick(known, key=lambda n: sign * mine[n]) for pick in (max, min)]
    taken = sorted(list(dict.fromkeys([*wanted, *known]))[:EXAMPLES])
    return [
        (n, _words(mine[n], base.get(n), cell, against=cell.reference if method != cell.reference else ""))
        for n in taken
    ]


def _words(score: float, base: float | None, cell: Cell, *, against: str) -> str:
    if cell.metric.name != "accuracy":
        beside = f", {against} {base:.3g}" if against and base is not None else ""
        return f"{cell.metric.name} of this example: {score:.3g} {cell.metric.unit}".rstrip() + beside
    word = "right" if score == 1 else "wrong"
    if not against or base is None:
        return word
    return (
        f"{word}, as {against}"
        if base == score
        else f"flipped: {word}, where {against} is {'wrong' if score else 'right'}"
    )


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
