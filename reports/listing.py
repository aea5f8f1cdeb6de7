"""The scores and differences of a report as plain tables: LaTeX with booktabs, Markdown, CSV."""

import csv
import io
from collections.abc import Mapping, Sequence

from . import downloads
from .claims import Cell, Entry
from .tuning import Tuned
from .wording import level, p_value

FORMATS = ("tex", "md", "csv")
HEADS = ("method", "score", "difference", "Holm p", "verdict", "GFLOPs", "latency, ms")
Key = tuple[str, str, str]
"""Data set, budget and method."""
COMPARED = ("difference", "difference_low", "difference_high", "pairs", "failed_pairs", "test", "p", "p_holm", "m")
SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "−": "$-$",
    "–": "--",
    "≥": r"$\geq$",
    "±": r"$\pm$",
    "×": r"$\times$",
} | {letter: f"\\{letter}" for letter in "&%$#_{}"}


def listing(cells: Sequence[Cell], kind: str, *, title: str, tuned: Sequence[Tuned] = ()) -> str:
    """Every cell as text of one of FORMATS; where methods were tuned, with what each spent on it."""
    return {"tex": _tex, "md": _md, "csv": _csv}[kind](cells, title, {_key(one): one for one in tuned})


def _key(one: Tuned) -> Key:
    return one.dataset, one.budget, one.method


def _tex(cells: Sequence[Cell], title: str, tuned: Mapping[Key, Tuned]) -> str:
    """One table environment for a paper; it needs the package booktabs."""
    heads = (*HEADS, "tuning") if tuned else HEADS
    lines = [r"\begin{table}", rf"\caption{{{escaped(title)}. {escaped(_caption(cells))}}}", r"\centering"]
    lines += [rf"\begin{{tabular}}{{l{'r' * 3}l{'r' * 2}{'l' * bool(tuned)}}}", r"\toprule"]
    lines += [" & ".join(map(escaped, heads)) + r" \\"]
    for cell in cells:
        lines += [r"\midrule", rf"\multicolumn{{{len(heads)}}}{{l}}{{{escaped(_heading(cell))}}} \\"]
        lines += [" & ".join(map(escaped, _row(cell, entry, tuned))) + r" \\" for entry in cell.entries]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}", ""])


def _md(cells: Sequence[Cell], title: str, tuned: Mapping[Key, Tuned]) -> str:
    heads = (*HEADS, "tuning") if tuned else HEADS
    lines = [f"# {title}", ""]
    for cell in cells:
        lines += [f"## {_bare(_heading(cell))}", "", f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
        lines += [f"| {' | '.join(_bare(text) for text in _row(cell, entry, tuned))} |" for entry in cell.entries]
        lines.append("")
    return "\n".join([*lines, _caption(cells), ""])


def _csv(cells: Sequence[Cell], title: str, tuned: Mapping[Key, Tuned]) -> str:
    """Unrounded numbers, one row a method and cell."""
    searches = {_key(one): row for one, row in zip(tuned.values(), downloads.tuning(list(tuned.values())), strict=True)}
    told = [name for row in searches.values() for name in row if name not in ("dataset", "budget", "method", "metric")]
    buffer = io.StringIO()
    writer = None
    for cell in cells:
        compared = {row["method"]: row for row in downloads.differences(cell)}
        costs = {row["method"]: row for row in downloads.compute(cell)}
        for row in downloads.scores(cell):
            found = compared.get(row["method"], {})
            found = {**found, "difference_low": found.get("low"), "difference_high": found.get("high")}
            cost = {key: value for key, value in costs[row["method"]].items() if key not in row}
            full = (
                row | {"reference": cell.reference} | {name: found.get(name) for name in (*COMPARED, "verdict")} | cost
            )
            search = searches.get((cell.dataset, cell.budget, str(row["method"])), {})
            full |= {f"tuning_{name}": search.get(name) for name in dict.fromkeys(told)}
            if writer is None:
                writer = csv.DictWriter(buffer, list(full), lineterminator="\n")
                writer.writeheader()
            writer.writerow({name: "" if value is None else value for name, value in full.items()})
    return buffer.getvalue()


def _row(cell: Cell, entry: Entry, tuned: Mapping[Key, Tuned]) -> tuple[str, ...]:
    s = entry.summary
    claim = next((claim for claim in cell.claims if claim.method == entry.method), None)
    failed = f", {s.failures.k:g} failed" if s.failures.k else ""
    score = f"{cell.metric.value(s.mean)} {cell.metric.values(s.interval)}, n = {s.n}{failed}"
    difference, p, word = "reference" if entry.method == cell.reference else "–", "–", "–"
    if entry.planned == entry.skipped:
        score, word = "–", "skipped"
    if claim is not None:
        c = claim.comparison
        known = c.complete > 2
        difference = f"{cell.metric.difference(c.effect)} {cell.metric.differences(c.interval)}" if known else "–"
        p, word = p_value(claim.p_holm), claim.verdict.word
    name = entry.method if entry.competes else f"{entry.method} (upper bound)"
    costs = ("–" if cost is None else f"{cost:.3g}" for cost in (entry.cost.gflops, entry.cost.latency_ms_p50))
    search = tuned.get((cell.dataset, cell.budget, entry.method))
    spent = (search.spent if search else "none",) if tuned else ()
    return name, score, difference, p, word, *costs, *spent


def _heading(cell: Cell) -> str:
    return f"{cell.title}: {cell.metric.axis}"


def _caption(cells: Sequence[Cell]) -> str:
    if not cells:
        return "No trial."
    covered = level(cells[0].alpha)
    kind = "paired differences" if cells[0].paired else "differences of means of unpaired seeds"
    test = " or ".join(dict.fromkeys("Welch t" if cell.t == "Welch" else cell.t for cell in cells))
    return (
        f"Means over n seeds with {covered} t intervals; {kind} from {cells[0].reference}, positive is "
        f"better, with unadjusted {covered} {test} intervals; p corrected by Holm over {cells[0].m} planned "
        "comparisons. Every claim is about new seeds on the same data set."
    )


def escaped(text: str) -> str:
    """Text that LaTeX prints as it is."""
    guard = "{}" if text[:1] in ("[", "*") else ""  # after a row's end these would be its arguments
    return guard + "".join(SPECIAL.get(letter, letter) for letter in text.replace("\n", " "))


def _bare(text: str) -> str:
    """Text that cannot end a Markdown cell or become markup."""
    escaped = "".join(f"\\{letter}" if letter in "\\`*_|[]<" else letter for letter in text)
    return escaped.replace("\n", " ")
