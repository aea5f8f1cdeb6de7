"""Numbers and verdicts as words: units, percent, intervals, p-values, and the sentence that each evidence allows."""

from dataclasses import dataclass

from .examples import Checkpoints
from .statistics import ALPHA, Comparison, Interval, Share

SCOPE = "new seeds, this data set"
"""What every claim of the page speaks of; it says nothing about new examples or new data sets."""


@dataclass(frozen=True)
class Metric:
    """What a cell is scored in."""

    name: str
    unit: str
    higher_is_better: bool

    @property
    def bounded(self) -> bool:
        """Whether the metric is a share with 1 as its best value."""
        return self.unit == "fraction" and self.higher_is_better

    @property
    def axis(self) -> str:
        """Name, unit and direction, for an axis or the head of a table."""
        unit = "%, " if self.unit == "fraction" else f"{self.unit}, " if self.unit else ""
        return f"{self.name} ({unit}{'higher' if self.higher_is_better else 'lower'} is better)"

    @property
    def in_unit(self) -> str:
        """Name and the unit of a difference, for a caption."""
        return f"{self.name} in {self.difference_unit}" if self.unit else self.name

    @property
    def scale(self) -> float:
        """What a value is multiplied with before it is shown."""
        return 100.0 if self.unit == "fraction" else 1.0

    @property
    def difference_unit(self) -> str:
        """Unit of a difference; percentages differ by points."""
        return "points" if self.unit == "fraction" else self.unit

    def value(self, value: float | None) -> str:
        """A value with its unit."""
        if value is None:
            return "–"
        return f"{100 * value:.2f}%" if self.unit == "fraction" else f"{value:.4g} {self.unit}".rstrip()

    def values(self, interval: Interval | None) -> str:
        """An interval of a value."""
        if interval is None:
            return "–"
        low, high = self.scale * interval.low, self.scale * interval.high
        return f"[{low:.2f}, {high:.2f}]" if self.unit == "fraction" else f"[{low:.4g}, {high:.4g}]"

    def difference(self, value: float | None, *, signed: bool = True) -> str:
        """A difference with its unit."""
        if value is None:
            return "–"
        return f"{self._number(value, signed=signed)} {self.difference_unit}".rstrip()

    def differences(self, interval: Interval | None) -> str:
        """An interval of a difference."""
        return "–" if interval is None else f"[{self._number(interval.low)}, {self._number(interval.high)}]"

    def _number(self, value: float, *, signed: bool = True) -> str:
        text = f"{100 * value:+.2f}" if self.unit == "fraction" else f"{value:+.3g}"
        if float(text) == 0:
            text = text.replace("-", "+")
        return text.replace("-", "−") if signed else text.lstrip("+-")


@dataclass(frozen=True)
class Verdict:
    """What the evidence allows to say: a word, and the sentence that goes with it."""

    word: str
    """better, worse, equivalent, too small to matter, undecided, or upper bound."""
    sentence: str

    @property
    def decided(self) -> bool:
        """Whether the pair has a direction."""
        return self.word in ("better", "worse")


@dataclass(frozen=True)
class Design:
    """What the design behind a comparison could find, in the metric's unit."""

    detectable: float | None
    """With 80% power at alpha."""
    detectable_family: float | None
    """The same at alpha/m."""
    seeds_needed: int | None
    """Seeds to find the observed effect at alpha/m with 80% power."""


def judge(
    comparison: Comparison,
    *,
    p_holm: float | None,
    m: int,
    design: Design,
    metric: Metric,
    margin: float | None,
    alpha: float = ALPHA,
) -> Verdict:
    """The verdict by the rule: better or worse needs an interval without zero and a corrected p below alpha.

    Without a declared margin nothing is ever equivalent or too small to matter. The comparison's own intervals must
    be of the same alpha.
    """
    end = f"({SCOPE}; n = {seeds_of(comparison)}; Holm {p_equals(p_holm)}, m = {m})"
    if comparison.failed and comparison.groups is not None:
        failed = f"{comparison.failed} {plural(comparison.failed, 'seed')} failed"
        return Verdict("undecided", f"undecided: {failed}, and without pairs no test counts them as losses {end}")
    if comparison.failed:
        return _judge_failures(comparison, p_holm=p_holm, m=m, end=end, alpha=alpha)
    effect, interval = comparison.effect, comparison.interval
    if comparison.complete < 3 or effect is None:
        few = f"undecided: {finished(comparison)}"
        return Verdict("undecided", f"{few}, and an interval needs three ({SCOPE})")
    if interval is None:
        same = "identical on every seed" if effect == 0 else comparison.notes[0]
        return Verdict("undecided", f"undecided: {same} {end}")
    if margin is not None:
        declared = metric.difference(margin, signed=False)
        if interval.excludes(0) and interval.within(margin):
            return Verdict("too small to matter", f"a difference too small to matter, within ±{declared} {end}")
        narrower = comparison.equivalence_interval
        if narrower is not None and narrower.within(margin):
            inside = f"the {level(2 * alpha)} interval is inside, unadjusted"
            return Verdict("equivalent", f"equivalent within ±{declared}: {inside} {end}")
    if interval.excludes(0) and p_holm is not None and p_holm < alpha:
        word = "better" if effect > 0 else "worse"
        by = (
            f"by {metric.difference(abs(effect), signed=False)}, {level(alpha)} interval {metric.differences(interval)}"
        )
        straddles = margin is not None and min(abs(interval.low), abs(interval.high)) < margin
        doubt = ", though perhaps by less than the declared margin" if straddles else ""
        return Verdict(word, f"{word} {by}{doubt} {end}")
    each = "" if comparison.groups is None else " of each"
    return Verdict("undecided", f"undecided; {_design(design, metric=metric, m=m, alpha=alpha, each=each)} {end}")


def seeds_of(comparison: Comparison) -> str:
    """How many seeds a claim rests on, and whether they are paired; without pairs, which test that leaves."""
    groups = comparison.groups
    if groups is None:
        own = ", each with a split of its own, corrected t" if comparison.splits else ""
        return f"{comparison.n} paired {plural(comparison.n, 'seed')}{own}"
    return f"{groups.method} and {groups.reference} seeds, not paired, Welch's t"


def finished(comparison: Comparison) -> str:
    """What is complete: pairs, or the finished seeds of either group."""
    groups = comparison.groups
    if groups is None:
        return f"{comparison.complete} complete {plural(comparison.complete, 'pair')}"
    return f"{groups.method} and {groups.reference} finished seeds"


def of_checkpoints(found: Checkpoints, metric: Metric, *, first: str, second: str) -> str:
    """What two single checkpoints differ in, with the scope that such a test has."""
    alone = ""
    if found.only_first is not None:
        alone = f"; right where the other is wrong: {first} on {found.only_first}, {second} on {found.only_second}"
    return (
        f"these two checkpoints, not these two methods: {metric.difference(found.difference)} on {found.n} {found.unit}"
        f"{alone} ({found.test}, {p_equals(found.p)}; new test examples, these checkpoints)"
    )


def level(alpha: float) -> str:
    """The level of an interval as words: 95% for alpha .05."""
    return f"{100 * (1 - alpha):.6g}%"


def p_value(p: float | None) -> str:
    """A p-value to three digits, never as 0, and to more where three would round it up to .05."""
    if p is None:
        return "–"
    if p < 0.001:
        return "<.001"
    if 0.0495 <= p < 0.05:
        return ".0499" if p >= 0.04995 else f"{p:.4f}".lstrip("0")
    return "1" if p >= 0.9995 else f"{p:.3f}".lstrip("0")


def p_equals(p: float | None) -> str:
    """A p-value in a sentence: p = .012, or p < .001."""
    text = p_value(p)
    return f"p < {text[1:]}" if text.startswith("<") else f"p = {text}"


def share(value: Share) -> str:
    """A share with its exact interval: 4/5 [0.28, 0.99]."""
    if value.interval is None:
        return "–"
    return f"{value.k:g}/{value.n} [{value.interval.low:.2f}, {value.interval.high:.2f}]"


def plural(n: float, word: str) -> str:
    """The word, with an s unless there is one of it."""
    return word if n == 1 else f"{word}s"


def _judge_failures(comparison: Comparison, *, p_holm: float | None, m: int, end: str, alpha: float) -> Verdict:
    interval, value = comparison.superiority.interval, comparison.superiority.value
    chance = f"P(better than the reference) = {share(comparison.superiority)}, failures as losses"
    if interval is None or value is None or comparison.n < 3:
        return Verdict("undecided", f"undecided: {comparison.n} {plural(comparison.n, 'pair')} with failures ({SCOPE})")
    if interval.excludes(0.5) and p_holm is not None and p_holm < alpha:
        word = "better" if value > 0.5 else "worse"
        return Verdict(word, f"{word} in more seeds, with {chance} {end}")
    needed = next(n for n in range(1, 1000) if 2 / 2**n < alpha / m)
    return Verdict(
        "undecided", f"undecided; {chance}; even if every seed agreed, the exact test would need {needed} seeds {end}"
    )


def _design(design: Design, *, metric: Metric, m: int, alpha: float, each: str) -> str:
    words, plain = [], f"{alpha:g}".removeprefix("0")
    if design.detectable_family is not None and design.detectable is not None:
        words.append(
            f"this design would detect ≥ {metric.difference(design.detectable_family, signed=False)} with 80% power at "
            f"alpha {plain}/{m} (≥ {metric.difference(design.detectable, signed=False)} at {plain})"
        )
    if design.seeds_needed is None:
        words.append("no reachable number of seeds would be expected to find the observed difference")
    else:
        words.append(f"about {design.seeds_needed} seeds{each} would be needed to find the observed difference")
    return "; ".join(words)
