"""What a reader must know before believing the page: failures, few pairs, trials that are not there."""

from collections.abc import Sequence
from itertools import count

import pandas as pd

from .claims import Cell
from .gaps import absent
from .table import OUTCOMES
from .wording import plural, share


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
    sizes = [claim.comparison.complete for cell in found for claim in cell.claims if claim.competes]
    alpha = found[0].alpha if found else 0.05
    least = next(n for n in count(1) if 2 / 2**n < alpha)  # what n signs can tell at best, two-sided
    if sizes and min(sizes) < least and found[0].paired:
        listed.append(
            f"Some comparisons have {min(sizes)} complete {plural(min(sizes), 'pair')}. Below {least}, no "
            f"distribution-free test can reach {alpha:g}, so the claims rest on the t test."
        )
    failed = table[table["status"] == "failed"]
    lost = failed[~failed["error_class"].isin(OUTCOMES).fillna(False).astype(bool)]
    if len(lost):
        named = lost["error_class"].fillna("no cause given").value_counts()
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
