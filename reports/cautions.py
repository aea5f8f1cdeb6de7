"""What a reader must know before believing the page: failures, few pairs, trials that are not there."""

from collections.abc import Sequence
from itertools import count

import pandas as pd

from .claims import Cell
from .gaps import absent
from .table import outcomes
from .wording import plural, share

DRIFT = 0.03
"""A reference network that changes by a larger share while a profile's process measures marks its latency."""


def cautions(table: pd.DataFrame, found: Sequence[Cell]) -> list[str]:
    """One sentence each, the gravest first."""
    listed = [
        f"Conclusion depends on failures: {claim.method} against {cell.reference} on {cell.title}. Counting "
        "failures as losses and leaving them out point in opposite directions."
        for cell in found
        for claim in cell.claims
        if claim.comparison.depends_on_failures
    ]
    listed += [
        f"{entry.method} failed on {cell.title} in {share(entry.summary.failures)} trials; "
        + ("its mean is given convergence." if entry.summary.mean is not None else "it has no score.")
        for cell in found
        for entry in cell.entries
        if entry.summary.failures.k
    ]
    if not all(cell.paired for cell in found):
        listed.append(
            "Seeds are taken as not paired, and means compared by Welch's t test. There is no exact companion, and a "
            "failed seed leaves its comparison undecided."
        )
        if (table.groupby(["dataset", "budget"])["split_id"].nunique() > 1).any():
            listed.append(
                "The table names several splits. Those of one data set overlap, which Welch's t knows nothing of: its "
                "intervals are too narrow. Give the methods the same splits to have them corrected."
            )
    for cell in found:
        if cell.splits is not None:
            listed.append(
                f"Each seed has a split of its own on {cell.title} (of {cell.splits.n_train} training and "
                f"{cell.splits.n_test} test examples). Splits overlap, so t is corrected for it (Nadeau and Bengio "
                "2003), and exact tests, which take seeds as independent, are left out; a sign test where seeds failed "
                "is no more than a guide."
            )
    sizes = [claim.comparison.complete for cell in found for claim in cell.claims if claim.competes]
    alpha = found[0].alpha if found else 0.05
    least = next(n for n in count(1) if 2 / 2**n < alpha)  # what n signs can tell at best, two-sided
    if sizes and min(sizes) < least and found[0].paired and not any(cell.splits for cell in found):
        listed.append(
            f"Some comparisons have {min(sizes)} complete {plural(min(sizes), 'pair')}. Below {least}, no "
            f"distribution-free test can reach {alpha:g}, so the claims rest on the t test."
        )
    listed += _precisions(table)
    for (dataset, budget), title in {(cell.dataset, cell.budget): cell.title for cell in found}.items():
        listed += _of_costs(title, table[(table["dataset"] == dataset) & (table["budget"] == budget)])
    counted = outcomes(table)
    unnamed = int((counted & table["error_class"].isna()).sum())
    if unnamed:
        listed.append(
            f"{unnamed} {plural(unnamed, 'trial')} failed without a cause. That counts against a method as divergence "
            "does, since leaving failures out would flatter it; a cause outside it is an `infrastructure failure`."
        )
    lost = table[(table["status"] == "failed") & ~counted]
    if len(lost):
        named = lost["error_class"].value_counts()
        causes = ", ".join(f"{name} × {count}" for name, count in sorted(named.items()))
        listed.append(
            f"{len(lost)} {plural(len(lost), 'trial')} ended by an error that is no result of a method ({causes}). "
            "Their pairs are left out, as if missing at random: mend the cause, then `zoombench run --retry-failed`."
        )
    unfinished = int((table["status"] == "missing").sum())
    if unfinished:
        listed.append(f"{unfinished} planned {plural(unfinished, 'trial')} did not run yet.")
    unsaid = [str(gap) for gap in absent(table, paired=all(cell.paired for cell in found))]
    if unsaid:
        more = f"; and {len(unsaid) - 5} more, under not finished" if len(unsaid) > 5 else ""
        listed.append(f"The table is not dense: {'; '.join(unsaid[:5])}{more}.")
    return listed


def _precisions(table: pd.DataFrame) -> list[str]:
    """What was trained in mixed precision, and where that is compared with what was not."""
    known = table[table["precision"].notna()]
    used = {str(name): int(n) for name, n in known["precision"].value_counts().sort_index().items()}
    short = [f"{name} × {n}" for name, n in used.items() if name != "float32"]
    if not short:
        return []
    mixed = [
        f"{place[0]}, {place[1]} ({' and '.join(names)})"
        for place, cell in known.groupby(["dataset", "budget"], dropna=False)
        if len(names := sorted(set(cell["precision"]))) > 1
    ]
    said = f"Trained in mixed precision, of {len(known)} trials: {', '.join(short)}."
    if mixed:
        said += f" Different precisions are compared with each other on {'; '.join(mixed)}: run all in one."
    return [said]


def _of_costs(title: str, rows: pd.DataFrame) -> list[str]:
    """What speaks against comparing the costs of one data set and budget; once for all of its metrics."""
    said = []
    sources = rows.dropna(subset=["latency_source"]).groupby("latency_source")["method"].unique()
    if len(sources) > 1:
        by_source = "; ".join(f"of a {source}: {', '.join(sorted(methods))}" for source, methods in sources.items())
        said.append(
            f"Latencies on {title} do not compare: some were measured alone and some beside other trials "
            f"({by_source}). `zoombench profile` measures the rest."
        )
    conditions = rows["latency_conditions"].dropna().unique()
    if len(conditions) > 1:
        said.append(f"Latencies on {title} were measured under different conditions: {'; '.join(sorted(conditions))}.")
    elsewhere = rows[(rows["latency_device"] != rows["device"]).fillna(False)]
    for (profiled, trained), part in elsewhere.groupby(["latency_device", "device"]):
        said.append(
            f"Latency and memory of {', '.join(sorted(part['method'].unique()))} on {title} were profiled on "
            f"{profiled}, and the trials ran on {trained}, of which they say nothing: run `zoombench profile` there."
        )
    drifted = sorted(rows.loc[(rows["latency_drift"] > DRIFT).fillna(False), "method"].unique())
    if drifted:
        said.append(
            f"The machine was not steady while it measured {', '.join(drifted)} on {title}: the reference network "
            f"changed by more than {100 * DRIFT:.0f}% within a process."
        )
    refused = rows.dropna(subset=["gflops_refused"]).drop_duplicates("method").sort_values("method")
    said += [f"No GFLOPs of {one.method} on {title}: {one.gflops_refused}." for one in refused.itertuples()]
    return said
