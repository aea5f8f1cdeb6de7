"""Seeds that nothing pairs: Welch's t against scipy and simulation, and a page that says so everywhere."""

import json
import re
from html import unescape

import numpy as np
import pytest
from scipy import stats

from zoombench.reports.across import stratified
from zoombench.reports.across_claims import across
from zoombench.reports.claims import cells
from zoombench.reports.estimates import welch
from zoombench.reports.listing import listing
from zoombench.reports.page import About, render
from zoombench.reports.pairwise import matrices
from zoombench.reports.statistics import Outcomes
from zoombench.reports.table import from_rows
from zoombench.reports.trade_off_claims import trade_offs
from zoombench.reports.unpaired import compare_unpaired

OLD = [0.601, 0.622, 0.615, 0.608]
NEW = [0.655, 0.671, 0.662, 0.690, 0.668]


def outcomes(values, first=0):
    failed = np.array([value is None for value in values])
    return Outcomes(
        np.arange(first, first + len(values)), np.array([0.0 if v is None else v for v in values], float), failed
    )


def rows(made, scores, **other):
    """Each method numbers its seeds from another start, so that none is shared."""
    return [
        made.failed(name, 10 * place + i, **other)
        if value is None
        else made.row(name, 10 * place + i, value, n_test=10**6, **other)
        for place, (name, values) in enumerate(scores.items())
        for i, value in enumerate(values)
    ]


def about(**keys):
    return About("mine", "old", command="", resolved="", versions={}, commit="", paired=False, **keys)


@pytest.mark.parametrize("up", [True, False])
def test_interval_and_p_are_those_of_scipy(up):
    found = compare_unpaired(outcomes(NEW), outcomes(OLD), higher_is_better=up)
    test = stats.ttest_ind(NEW, OLD, equal_var=False)
    sign = 1 if up else -1
    assert found.p_t == pytest.approx(test.pvalue, rel=1e-9)
    ends = sorted(sign * end for end in test.confidence_interval(0.95))
    assert (found.interval.low, found.interval.high) == pytest.approx(tuple(ends))
    narrow = sorted(sign * end for end in test.confidence_interval(0.90))
    assert (found.equivalence_interval.low, found.equivalence_interval.high) == pytest.approx(tuple(narrow))
    assert (found.effect, found.groups.df) == pytest.approx((sign * (np.mean(NEW) - np.mean(OLD)), test.df))
    assert (found.p_sign_flip, found.p_wilcoxon, found.p_sign, found.correlation) == (None,) * 4


def test_which_seed_had_which_score_and_number_does_not_matter():
    one = compare_unpaired(outcomes(NEW), outcomes(OLD), higher_is_better=True)
    other = compare_unpaired(outcomes(NEW[::-1], first=7), outcomes(OLD[2:] + OLD[:2]), higher_is_better=True)
    assert (one.p_t, one.interval.low, one.interval.high) == pytest.approx(
        (other.p_t, other.interval.low, other.interval.high), rel=1e-9
    )


def test_swapping_the_two_mirrors_the_difference():
    one, other = (compare_unpaired(a, b, higher_is_better=True) for a, b in _both_ways())
    assert (one.effect, one.p_t) == pytest.approx((-other.effect, other.p_t))


def _both_ways():
    a, b = outcomes(NEW), outcomes(OLD)
    return (a, b), (b, a)


@pytest.mark.parametrize(("a", "b"), [(3, 3), (5, 3), (5, 5), (10, 5)])
def test_the_interval_covers_what_it_says(a, b):
    rng = np.random.default_rng(a + 10 * b)
    inside = 0
    for _ in range(2000):
        found = compare_unpaired(
            outcomes(rng.normal(0.0, 1.0, a)), outcomes(rng.normal(0.0, 1.5, b)), higher_is_better=True
        )
        inside += not found.interval.excludes(0.0)
    assert 0.935 < inside / 2000 < 0.985  # Welch's t is a little too wide with three seeds


@pytest.mark.parametrize(
    ("a", "b", "p"),
    [([0.5, 0.6], OLD, None), (NEW, [0.5], None), ([0.5] * 3, [0.5] * 4, 1.0), ([0.6] * 3, [0.5] * 4, None)],
)
def test_too_few_or_too_equal_scores_give_no_interval(a, b, p):
    found = compare_unpaired(outcomes(a), outcomes(b), higher_is_better=True)
    assert (found.interval, found.p_t) == (None, p)


def test_the_verdict_names_the_test_and_both_groups(made):
    (cell,) = cells(from_rows(rows(made, {"old": OLD, "new": NEW})), "old", paired=False)
    (claim,) = cell.claims
    assert (claim.verdict.word, claim.test) == ("better", "Welch's t")
    assert "n = 5 and 4 seeds, not paired, Welch's t; Holm p" in claim.verdict.sentence


def test_the_same_table_as_pairs_has_none(made):
    (cell,) = cells(from_rows(rows(made, {"old": OLD, "new": NEW})), "old")
    assert cell.claims[0].verdict.sentence.startswith("undecided: 0 complete pairs")


def test_a_failed_seed_leaves_it_undecided_and_is_counted(made):
    (cell,) = cells(from_rows(rows(made, {"old": OLD, "new": [*NEW, None]})), "old", paired=False)
    (claim,) = cell.claims
    assert (claim.p, claim.verdict.word) == (None, "undecided")
    assert claim.verdict.sentence.startswith("undecided: 1 seed failed, and without pairs no test counts them")


def test_an_undecided_pair_says_the_seeds_of_each_and_they_suffice(made):
    close = [value + 0.004 for value in OLD]
    (cell,) = cells(from_rows(rows(made, {"old": OLD, "new": close})), "old", paired=False)
    design, spread = cell.claims[0].design, np.std(OLD, ddof=1)
    assert f"about {design.seeds_needed} seeds of each would be needed" in cell.claims[0].verdict.sentence
    draw = np.random.default_rng(0).normal(0, spread, (2, 4000, design.seeds_needed))
    p = stats.ttest_ind(draw[0] + 0.004, draw[1], axis=1, equal_var=False).pvalue
    assert np.mean(p < 0.05) == pytest.approx(0.8, abs=0.03)
    draw = np.random.default_rng(1).normal(0, spread, (2, 4000, 4))
    p = stats.ttest_ind(draw[0] + design.detectable, draw[1], axis=1, equal_var=False).pvalue
    assert np.mean(p < 0.05) == pytest.approx(0.8, abs=0.06)  # the spread that was seen stands for both


@pytest.mark.parametrize(("factor", "grown"), [(1.0, 2.0), (1000.0, 1.0)])
def test_degrees_of_freedom_grow_by_two_a_seed_of_equal_spreads_and_by_one_of_a_single_spread(factor, grown):
    shifted = [0.5 + factor * value for value in OLD]
    groups = compare_unpaired(outcomes(shifted), outcomes(OLD), higher_is_better=True).groups
    assert groups.df_a_seed == pytest.approx(grown, rel=1e-5)
    assert groups.df == pytest.approx(grown * (len(OLD) - 1), rel=1e-5)


def test_every_pair_is_compared_as_with_the_reference(made):
    table = from_rows(rows(made, {"old": OLD, "new": NEW, "other": NEW[:3]}))
    (cell,) = cells(table, "old", paired=False)
    (matrix,) = matrices([cell])
    for claim in cell.claims:
        pair = matrix.pairs[matrix.methods.index(claim.method)][0]
        c = claim.comparison
        assert (pair.n, pair.difference, pair.interval.low, pair.interval.high) == pytest.approx(
            (c.complete, c.effect, c.interval.low, c.interval.high)
        )
    p = [stats.ttest_ind(a, b, equal_var=False).pvalue for a, b in ((NEW, OLD), (NEW[:3], OLD), (NEW[:3], NEW))]
    assert min(pair.p_holm for row in matrix.pairs for pair in row if pair) == pytest.approx(3 * min(p), rel=1e-6)


def test_no_worse_and_cheaper_rests_on_welchs_t_too(made):
    table = from_rows(
        [
            one | {"gflops": {"old": 2.0, "new": 1.0}[one["method"]]}
            for one in rows(made, {"old": OLD, "new": [v + 0.001 for v in OLD]})
        ]
    )
    found = cells(table, "old", {"accuracy": 0.03}, paired=False)
    (claim,) = trade_offs(table, found, "gflops")[0].claims
    shifted = np.array(OLD) + 0.001 + 0.03
    assert claim.trade_off.p == pytest.approx(
        stats.ttest_ind(shifted, OLD, equal_var=False, alternative="greater").pvalue
    )
    assert claim.verdict.word == "no worse and cheaper"
    assert "n = 4 and 4 seeds, not paired, Welch's t" in claim.verdict.sentence


def test_the_front_does_not_depend_on_which_seeds_have_the_same_number(made):
    scores = {"old": OLD, "new": [v + 0.002 for v in OLD]}
    shared = [made.row(m, s, v, n_test=10**6) for m, values in scores.items() for s, v in enumerate(values)]
    chances = []
    for listed in (rows(made, scores), shared):
        table = from_rows([one | {"gflops": 1.0} for one in listed])
        (found,) = trade_offs(table, cells(table, "old", paired=False), "gflops")
        chances.append({point.method: point.p_on_front for point in found.front})
    assert chances[0] == chances[1]
    assert 0.5 < chances[0]["new"] < 0.95  # as pairs, which differ by 0.002 each, it would be 1


def test_the_page_says_the_test_and_claims_no_pairs(made):
    table = from_rows(
        [
            one
            for dataset in ("digits", "parts")
            for one in rows(made, {"old": OLD, "new": [*NEW, None], "near": OLD[::-1]}, dataset=dataset)
        ]
    )
    html = render(table, about(margins={"accuracy": 0.01}))
    seen = unescape(re.sub(r"<(script|style)\b.*?</\1>|<[^>]*>", " ", html, flags=re.DOTALL))
    for words in (
        "seeds a method, not paired: Welch's t",
        "Difference of the means of unpaired seeds with its 95% interval by Welch's t",
        "Primary test: two-sided Welch t, for seeds that are not paired",
        "Seeds are taken as not paired, and means compared by Welch's t test.",
        "told apart by Welch's t test after Holm",
        "the mean of a method is compared with that of old on each data set",
        "seeds failed, and without pairs no test counts them as losses",
        "8 seeds and more of each, not paired, stratified Welch t",
    ):
        assert words in seen, words
    assert not re.search(r"\d paired seed|[Pp]aired (differences|t)\b|complete pairs", seen)
    assert json.loads(re.search(r'id="data">(.*?)</script>', html, re.DOTALL).group(1))["cells"] == []


def across_both(made, old=OLD, new=NEW, **other):
    made_rows = [
        row
        for dataset, shift in (("digits", 0.0), ("parts", 0.1))
        for row in rows(made, {"old": [o + shift for o in old], "new": [n + shift for n in new]}, dataset=dataset)
    ]
    (found,) = across(cells(from_rows(made_rows), "old", paired=False), **other)
    return found


def test_all_data_sets_together_are_a_stratified_welch_t_of_the_log_errors(made):
    (claim,) = across_both(made).claims
    a, b = ([-np.log(1 - np.array(scores) - shift) for shift in (0.0, 0.1)] for scores in (NEW, OLD))
    effects = np.array([x.mean() - y.mean() for x, y in zip(a, b, strict=True)])
    tests = [stats.ttest_ind(x, y, equal_var=False) for x, y in zip(a, b, strict=True)]
    variances = (effects / [one.statistic for one in tests]) ** 2 / 4
    estimate = claim.evidence.these.estimate
    assert (estimate.value, estimate.error) == pytest.approx((effects.mean(), np.sqrt(variances.sum())), rel=1e-6)
    parts = [x.var(ddof=1) / len(x) / 4 for x in (*a, *b)]  # Satterthwaite over the four groups
    dofs = [len(x) - 1 for x in (*a, *b)]
    df = sum(parts) ** 2 / sum(part**2 / dof for part, dof in zip(parts, dofs, strict=True))
    assert estimate.df == pytest.approx(df, rel=1e-6)
    assert (claim.evidence.test, claim.evidence.these.p_sign_flip) == ("stratified Welch t", None)
    assert claim.verdict.word == "better"
    assert "n = 8 seeds and more of each, not paired, stratified Welch t; Holm p" in claim.verdict.sentence
    assert claim.evidence.new.n == 2


def test_which_unpaired_seed_had_which_number_does_not_matter_over_data_sets(made):
    one, other = (across_both(made, new=new).claims[0].evidence.these.estimate for new in (NEW, NEW[::-1]))
    assert (one.value, one.error, one.df) == pytest.approx((other.value, other.error, other.df), rel=1e-9)


@pytest.mark.parametrize("n", [3, 5, 10])
def test_the_stratified_welch_interval_covers(n):
    rng = np.random.default_rng(n)
    inside = 0
    for _ in range(1000):
        groups = [welch(rng.normal(d, 1 + d, n), rng.normal(d, 1.5, n + 1)) for d in range(3)]
        inside += not stratified(groups).interval().excludes(0.0)
    assert 0.93 < inside / 1000 < 0.985


def test_a_failure_of_unpaired_seeds_leaves_all_data_sets_undecided_and_a_single_seed_too(made):
    (failed,) = across_both(made, new=NEW).claims
    broken = rows(made, {"old": OLD, "new": [*NEW, None]}) + rows(made, {"old": OLD, "new": NEW}, dataset="b")
    (found,) = across(cells(from_rows(broken), "old", paired=False))
    assert (found.claims[0].evidence.p, found.claims[0].verdict.word) == (None, "undecided")
    assert "without pairs no test counts them as losses" in found.claims[0].verdict.sentence
    assert failed.evidence.p is not None
    (single,) = across_both(made, new=NEW[:1]).claims
    assert "some data set has a single seed of either, which has no spread" in single.verdict.sentence


@pytest.mark.parametrize("kind", ["tex", "md"])
def test_a_listing_says_the_test(made, kind):
    found = cells(from_rows(rows(made, {"old": OLD, "new": NEW})), "old", paired=False)
    text = listing(found, kind, title="mine")
    assert "differences of means of unpaired seeds from old" in text
    assert "unadjusted 95" in text
    assert "Welch t intervals" in text
