"""How long the report's statistics take: 20 methods x 8 data sets x 10 seeds, and 10,000 trials.

    python -m benchmarks.report [--page]

Each line is the median of five runs beside its target. The naive loops use scipy's own functions, one pair or one
resample at a time, on a part of the work whose time is then multiplied; they run in the same process, so on a shared
machine trust the ratio. --page instead makes table and page, with learning curves of 20 epochs in two metrics, once
for each of the two sizes in a process of its own: CPU seconds with all imports, and the peak memory of that process.
Random scores, one thread (set OMP_NUM_THREADS=1).
"""

import argparse
import multiprocessing
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from zoombench.reports import page, table
from zoombench.reports.across import these_data_sets
from zoombench.reports.across_claims import across
from zoombench.reports.aggregates import interquartile_means
from zoombench.reports.claims import cells
from zoombench.reports.statistics import Outcomes, compare, holm
from zoombench.reports.trade_off_claims import trade_offs

METHODS, DATA_SETS, SEEDS = 20, 8, 10
MANY = (METHODS, DATA_SETS, 63)


def main() -> None:
    """Print what was found beside the target."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--page", action="store_true", help="make the whole page instead, of both sizes")
    if parser.parse_args().page:
        return whole_pages()
    scores = np.random.default_rng(0).normal(0.8, 0.02, (METHODS, DATA_SETS, SEEDS))
    rows = trials(scores)
    print(f"{METHODS} methods x {DATA_SETS} data sets x {SEEDS} seeds; CPU seconds, median of runs")
    print(f"{'':44}{'found':>9}{'target':>9}")
    seed_level, _ = timed(lambda: every_pair(scores))
    line("seed level: 190 pairs, t, CI, sign-flip, Holm", seed_level, "0.5")
    naive = DATA_SETS * timed(lambda: pairs_naively(scores[:, 0]), runs=1)[0]
    line("  the same tests one by one, from 1 data set", naive, "", f"{naive / seed_level:.0f} x as long")
    iqm, _ = timed(lambda: interquartile_means(scores, rng=np.random.default_rng(0), draws=50_000))
    line("IQM of 20 methods, 50,000 draws", iqm, "3")
    naive = METHODS * 50 * timed(lambda: iqm_naively(scores[0], draws=1000), runs=1)[0]
    line("  a loop, from 1000 draws of 1 method", naive, "", f"{naive / iqm:.0f} x as long")
    made, results = timed(lambda: table.from_rows(rows))
    line("table from rows", made, "")
    claims, found = timed(lambda: cells(results, "m00"))
    line("claims: every method against the reference", claims, "")
    line("claims over data sets", timed(lambda: across(found))[0], "")
    line("score against GFLOPs: claims and fronts", timed(lambda: trade_offs(results, found, "gflops"))[0], "")
    many = trials(np.random.default_rng(1).normal(0.8, 0.02, MANY))[:10_000]
    line("10,000 trials: table and claims", timed(lambda: cells(table.from_rows(many), "m00"), runs=1)[0], "30")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{'peak memory of this process, GiB':44}{peak:9.2f}{'1':>9}")


def whole_pages() -> None:
    """Table and page of both sizes beside their targets, each in a process that does nothing else."""
    print(f"{'table and page with curves':44}{'CPU s':>9}{'target':>9}{'GiB':>9}{'target':>9}{'MB':>9}")
    for what, shape, target, memory in (
        (f"{METHODS} methods x {DATA_SETS} data sets x {SEEDS} seeds", (METHODS, DATA_SETS, SEEDS), "10", ""),
        ("10,000 trials", MANY, "30", "1"),
    ):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            seconds, peak, size = pool.apply(whole_page, (shape,))
        print(f"{what:44}{seconds:9.1f}{target:>9}{peak:9.2f}{memory:>9}{size:9.1f}")


def whole_page(shape: tuple[int, int, int]) -> tuple[float, float, float]:
    """CPU seconds since this process began, less those for making up the scores; peak GiB; MB of the page."""
    began = time.process_time()
    rows = trials(np.random.default_rng(0).normal(0.8, 0.02, shape))[:10_000]
    frame = curves(rows)
    inventing = time.process_time() - began
    about = page.About("speed", reference="m00", command="", resolved="", versions={}, commit="", curves=frame)
    with tempfile.TemporaryDirectory() as folder:
        size = page.write(table.from_rows(rows), about, Path(folder)).stat().st_size
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return time.process_time() - inventing, peak, size / 1e6


def curves(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Learning curves of these trials: accuracy and loss after each of 20 epochs."""
    names = ("trial_id", "method", "dataset", "budget", "seed")
    parts = [
        {name: row[name] for name in names} | {"epoch": epoch, "split": split, "metric": metric, "value": value}
        for row in rows
        for epoch in range(1, 21)
        for split, metric, value in (
            ("validation", "accuracy", row["value"] * (1 - 0.5 / epoch)),
            ("training", "loss", 1 / epoch),
        )
    ]
    return pd.DataFrame(parts)


def every_pair(scores: np.ndarray) -> object:
    """All 190 pairs on each data set with Holm, and 19 against the first over all data sets."""
    seeds, none_failed = np.arange(SEEDS), np.zeros(SEEDS, dtype=bool)
    found = []
    for place in range(DATA_SETS):
        each = [Outcomes(seeds, scores[method, place], none_failed) for method in range(METHODS)]
        found += [compare(each[a], each[b], higher_is_better=True) for a in range(METHODS) for b in range(a)]
    p = holm([one.p_t for one in found], len(found))
    errors = np.log(1 - scores)
    rng = np.random.default_rng
    together = [these_data_sets(list(errors[0] - errors[method]), rng=rng(0)) for method in range(1, METHODS)]
    return p, together


def pairs_naively(scores: np.ndarray) -> list[float]:
    """The tests and intervals of all pairs on one data set, as one would write them first."""
    found = []
    for a in range(METHODS):
        for b in range(a):
            x, y = scores[a], scores[b]
            test = stats.ttest_rel(x, y)
            flips = stats.permutation_test((x - y,), np.mean, permutation_type="samples", n_resamples=np.inf)
            rank = stats.wilcoxon(x, y, zero_method="pratt")
            wins = stats.binomtest(int((x > y).sum()), SEEDS)
            ends = [*test.confidence_interval(0.95), *test.confidence_interval(0.9), *wins.proportion_ci(0.95)]
            found += [test.pvalue, flips.pvalue, rank.pvalue, wins.pvalue, *ends]
    return found


def iqm_naively(scores: np.ndarray, draws: int) -> list[float]:
    """Resample the seeds of each data set and trim, one draw after another."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(draws):
        resample = [row[rng.integers(0, SEEDS, SEEDS)] for row in scores]
        found.append(float(stats.trim_mean(np.concatenate(resample), 0.25)))
    return found


def trials(scores: np.ndarray) -> list[dict[str, Any]]:
    """Rows of a results table with these scores."""
    rng = np.random.default_rng(2)
    return [
        {
            "trial_id": f"{m}-{d}-{s}",
            "method": f"m{m:02}",
            "dataset": f"d{d}",
            "budget": "b",
            "seed": s,
            "competes": True,
            "status": "done",
            "split": "test",
            "metric": "accuracy",
            "value": float(scores[m, d, s]),
            "unit": "fraction",
            "higher_is_better": True,
            "n_test": 10_000,
            "gflops": 1.0 + 0.1 * m,
            "latency_ms_p50": (1 + m) * float(np.exp(rng.normal(0, 0.05))),
            "peak_memory_mib": 300.0 + m,
            "epoch": 20,
            "train_seconds": 60.0 * float(np.exp(rng.normal(0, 0.05))),
        }
        for m, d, s in np.ndindex(scores.shape)
    ]


def timed(work: Callable[[], Any], runs: int = 5) -> tuple[float, Any]:
    """Median CPU seconds, and the result."""
    spent, result = [], None
    for _ in range(runs):
        began = time.process_time()
        result = work()
        spent.append(time.process_time() - began)
    return statistics.median(spent), result


def line(what: str, seconds: float, target: str, note: str = "") -> None:
    """One line of the table."""
    print(f"{what:44}{seconds:9.3f}{target:>9}  {note}".rstrip())


if __name__ == "__main__":
    main()
