"""The sentences that evidence over several data sets allows, by the same rule as for one."""

import numpy as np

from .across import Evidence
from .estimates import Estimate
from .power import POWER, detectable, seeds_needed, seeds_to_find
from .statistics import Interval
from .wording import Verdict, level, p_equals, plural, share


def judge_these(
    evidence: Evidence, *, p_holm: float | None, m: int, unit: str, margin: float | None, alpha: float
) -> Verdict:
    """Scope: new seeds, these data sets. A failure lets P(better) and its sign test speak instead of the mean."""
    count = len(evidence.parts)
    pairs = evidence.superiority.n
    n = f"{pairs} paired {plural(pairs, 'seed')}" if pairs else f"{evidence.seeds} seeds and more of each, not paired"
    if not evidence.failed:
        n += f", {evidence.test}"
    end = f"(new seeds, these {count} data sets; n = {n}; Holm {p_equals(p_holm)}, m = {m})"
    if evidence.gaps:
        return _left_out(evidence)
    if evidence.failed and not pairs:
        return Verdict("undecided", f"undecided: seeds failed, and without pairs no test counts them as losses {end}")
    if evidence.failed:
        interval, value = evidence.superiority.interval, evidence.superiority.value
        chance = f"P(better than the reference) = {share(evidence.superiority)}, failures as losses"
        if interval is not None and value is not None and interval.excludes(0.5) and _below(p_holm, alpha):
            word = "better" if value > 0.5 else "worse"
            return Verdict(word, f"{word} in more seeds, with {chance} {end}")
        return Verdict("undecided", f"undecided; {chance} {end}")
    if evidence.these is None:
        few = f"some data set has a single {'pair' if pairs else 'seed of either'}, which has no spread"
        return Verdict("undecided", f"undecided: {few} (new seeds, these {count} data sets; n = {evidence.seeds})")
    estimate = evidence.these.estimate
    decided = _decided(estimate, p_holm=p_holm, unit=unit, margin=margin, alpha=alpha, end=end)
    if decided is not None:
        return decided
    words = _would_detect(estimate, unit, alpha, m)
    seeds = evidence.seeds / count
    needed = seeds_to_find(estimate.value, estimate.error, estimate.df, seeds=seeds, alpha=alpha / m)
    if "redrawn" in evidence.test:
        needed = None  # the error does not shrink with the seeds alone
    words += f"; about {needed} seeds a data set would be needed" if needed else ""
    return Verdict("undecided", f"undecided; observed {_seen(estimate, unit, alpha)}{words} {end}")


def judge_new(
    evidence: Evidence, *, p_holm: float | None, m: int, unit: str, margin: float | None, alpha: float
) -> Verdict:
    """Scope: a new data set of this kind; n counts data sets. Without failures only, and from three data sets on."""
    new = evidence.new
    if evidence.gaps:
        return _left_out(evidence)
    if new is None or evidence.failed:
        return Verdict("undecided", "undecided: seeds failed, and a mean of those that finished says nothing of them")
    tail = f"; {new.caution}" if new.caution else ""
    end = f"(a new data set of this kind; n = {new.n} data sets; Holm {p_equals(p_holm)}, m = {m}){tail}"
    if new.estimate is None:
        return Verdict("undecided", f"undecided: {new.n} data sets, and an interval needs three{tail}")
    decided = _decided(new.estimate, p_holm=p_holm, unit=unit, margin=margin, alpha=alpha, end=end)
    ahead = "" if new.prediction is None else f"; one new data set: {_range(new.prediction, unit)}"
    if decided is not None:
        return Verdict(decided.word, decided.sentence + ahead)
    words = _would_detect(new.estimate, unit, alpha, m)
    spread = new.estimate.error * np.sqrt(new.n)
    needed = seeds_needed(round(abs(new.estimate.value) / spread, 6), alpha / m) if spread > 0 else None
    words += f"; about {needed} data sets would be needed" if needed else ""
    return Verdict("undecided", f"undecided; observed {_seen(new.estimate, unit, alpha)}{words} {end}{ahead}")


def _decided(
    estimate: Estimate, *, p_holm: float | None, unit: str, margin: float | None, alpha: float, end: str
) -> Verdict | None:
    interval, narrower = estimate.interval(1 - alpha), estimate.interval(1 - 2 * alpha)
    if interval is None or narrower is None:
        return None
    if margin is not None:
        limit = float(np.log1p(margin)) if unit == "error ratio" else margin
        declared = f"{100 * margin:.3g}% of the error" if unit == "error ratio" else f"{margin:.3g}"
        if interval.excludes(0) and interval.within(limit):
            return Verdict("too small to matter", f"a difference too small to matter, within ±{declared} {end}")
        if narrower.within(limit):
            inside = f"the {level(2 * alpha)} interval is inside, unadjusted"
            return Verdict("equivalent", f"equivalent within ±{declared}: {inside} {end}")
    if interval.excludes(0) and _below(p_holm, alpha):
        word = "better" if estimate.value > 0 else "worse"
        return Verdict(word, f"{word}: {_seen(estimate, unit, alpha)} {end}")
    return None


def _left_out(evidence: Evidence) -> Verdict:
    return Verdict("undecided", f"undecided: left out of the aggregate, no pairs on {', '.join(evidence.gaps)}")


def _below(p: float | None, alpha: float) -> bool:
    return p is not None and p < alpha


def _seen(estimate: Estimate, unit: str, alpha: float) -> str:
    interval = estimate.interval(1 - alpha)
    between = "" if interval is None else f", {level(alpha)} interval {_range(interval, unit)}"
    if unit == "error ratio":
        return f"{np.exp(-estimate.value):.3g} × the error of the reference{between}"
    return f"{estimate.value:+.3g} of the normalised score{between}"


def _range(interval: Interval, unit: str) -> str:
    if unit == "error ratio":
        return f"[{np.exp(-interval.high):.3g}, {np.exp(-interval.low):.3g}] ×"
    return f"[{interval.low:+.3g}, {interval.high:+.3g}]"


def _would_detect(estimate: Estimate, unit: str, alpha: float, m: int) -> str:
    size = detectable(estimate.df + 1, alpha / m) if estimate.error > 0 else None
    if size is None:
        return ""
    effect = size * np.sqrt(estimate.df + 1) * estimate.error
    least = f"≤ {np.exp(-effect):.3g} × the error" if unit == "error ratio" else f"≥ {effect:.3g}"
    return f"; this design would detect {least} with {100 * POWER:.0f}% power at alpha {alpha:g}/{m}"
