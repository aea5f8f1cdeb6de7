"""Two groups of seeds that nothing pairs: Welch's t, the one test for a table whose seeds are not shared by methods."""

import numpy as np

from .estimates import welch
from .statistics import (
    ALPHA,
    Comparison,
    Groups,
    Outcomes,
    Share,
    error_reduction,
    rounded,
    smallest_step,
)


def compare_unpaired(
    method: Outcomes,
    reference: Outcomes,
    *,
    higher_is_better: bool,
    resolution: float | None = None,
    ceiling: float | None = None,
    alpha: float = ALPHA,
) -> Comparison:
    """Compare the means of a method and the reference; a seed's number says nothing, and both may have run any number.

    Arguments as those of `statistics.compare`. Interval and p are Welch's, None below three finished seeds of either.
    Without pairs nobody can count failures as losses: they are counted, and the means are given convergence.
    """
    a, b = method.finished, reference.finished
    step = smallest_step(a, b, resolution)
    a, b = rounded(a, step), rounded(b, step)
    better, worse = (a, b) if higher_is_better else (b, a)
    found = welch(better, worse)
    enough = found is not None and min(len(a), len(b)) >= 3
    parts = np.array([values.var(ddof=1) if len(values) > 1 and np.ptp(values) > 0 else 0.0 for values in (a, b)])
    total = float(parts.sum())
    shares = parts / total if total > 0 else np.ones(2)
    return Comparison(
        n=min(len(method.seeds), len(reference.seeds)),
        seeds=(),
        differences=(),
        effect=float(better.mean() - worse.mean()) if len(a) and len(b) else None,
        spread=None if found is None else float(np.sqrt(total)),
        interval=found.interval(1 - alpha) if found is not None and enough else None,
        equivalence_interval=found.interval(1 - 2 * alpha) if found is not None and enough else None,
        p_t=found.p if found is not None and enough else None,
        p_sign_flip=None,
        p_sign_flip_floor=None,
        p_wilcoxon=None,
        p_sign=None,
        wins=0,
        ties=0,
        losses=0,
        superiority=Share(0, 0, alpha),
        failed=int(method.failed.sum() + reference.failed.sum()),
        correlation=None,
        error_reduction=error_reduction(a, b, higher_is_better=higher_is_better, ceiling=ceiling),
        notes=("no score of either varies, so the t test has no spread to judge by",) if enough and not total else (),
        groups=Groups(
            method=len(a),
            reference=len(b),
            error=0.0 if found is None else found.error,
            df=0.0 if found is None else found.df,
            df_a_seed=float(1 / (shares**2).sum()),
        ),
    )
