"""Claims over data sets: scopes, families, gaps, failures, units and words."""

import numpy as np
import pytest
from scipy import stats

from zoombench.harness.errors import TableError
from zoombench.reports.across_claims import across
from zoombench.reports.claims import cells
from zoombench.reports.power import power_of, seeds_to_find
from zoombench.reports.table import from_rows

METRICS = (("accuracy", "fraction", True), ("error", "cm", False))


def suite(made, errors, *, data_sets=4, seeds=5, noise=0.05, start=0, **other):
    """Rows of methods whose error is that of `old` times a factor, on data sets of either direction in turn."""
    rng, rows = np.random.default_rng(start), []
    for place in range(data_sets):
        metric, unit, up = METRICS[place % 2]
        scale = 0.2 if up else 3.0
        for seed in range(seeds):
            shared = scale * np.exp(rng.normal(0, 0.1))
            for method, factor in errors.items():
                error = shared * factor * np.exp(rng.normal(0, noise))
                one = made.row(method, seed, 1 - error if up else error, dataset=f"d{place}", n_test=10**9)
                rows.append({**one, "metric": metric, "unit": unit, "higher_is_better": up, **other})
    return rows


def together(rows, **options):
    margins = options.pop("margins", None)
    return across(cells(from_rows(rows), "old", margins), **options)


def test_accuracy_and_centimetres_meet_as_a_ratio_of_errors(made):
    (found,) = together(suite(made, {"old": 1.0, "new": 0.7}))
    (claim,) = found.claims
    assert (found.unit, found.datasets, found.m) == ("error ratio", ("d0", "d1", "d2", "d3"), 1)
    assert np.exp(-claim.evidence.these.estimate.value) == pytest.approx(0.7, abs=0.05)
    assert claim.verdict.word == "better"
    assert "× the error of the reference, 95% interval [" in claim.verdict.sentence
    assert (
        "(new seeds, these 4 data sets; n = 20 paired seeds, stratified t; Holm p < .001, m = 1)"
        in claim.verdict.sentence
    )
    assert claim.evidence.record == (4, 0, 0)
    low, high = claim.evidence.leave_one_out.low, claim.evidence.leave_one_out.high
    assert low < claim.evidence.these.estimate.value < high


def test_the_numbers_are_those_of_scipy_by_hand(made):
    rows = suite(made, {"old": 1.0, "new": 0.9})
    (found,) = together(rows)
    error = {(r["method"], r["dataset"], r["seed"]): 1 - r["value"] if r["unit"] != "cm" else r["value"] for r in rows}
    logs = np.array([[np.log(error["old", d, s] / error["new", d, s]) for s in range(5)] for d in found.datasets])
    evidence = found.claims[0].evidence
    v = logs.var(axis=1, ddof=1) / 5
    t = logs.mean() / (np.sqrt(v.sum()) / 4)
    assert evidence.p == pytest.approx(2 * stats.t.sf(abs(t), v.sum() ** 2 / (v**2 / 4).sum()), rel=1e-6)
    assert evidence.new.estimate.p == pytest.approx(stats.ttest_1samp(logs.mean(axis=1), 0).pvalue, rel=1e-6)


def test_the_two_scopes_have_their_own_words(made):
    rows = suite(made, {"old": 1.0, "new": 0.8}, data_sets=2, noise=0.02)
    rows += [{**r, "dataset": "d2"} for r in suite(made, {"old": 1.0, "new": 1.1}, data_sets=1, noise=0.02)]
    (found,) = together(rows)
    (claim,) = found.claims
    assert claim.verdict.word == "better"
    assert claim.verdict_new.word == "undecided"
    assert "(a new data set of this kind; n = 3 data sets" in claim.verdict_new.sentence
    assert "3 data sets cannot support a distribution-free claim about new data sets" in claim.verdict_new.sentence
    assert "one new data set: [" in claim.verdict_new.sentence
    assert claim.evidence.record == (2, 0, 1)


def test_an_undecided_claim_says_what_would_be_needed(made):
    (found,) = together(suite(made, {"old": 1.0, "new": 0.985}))
    (claim,) = found.claims
    assert claim.verdict.word == "undecided"
    assert "this design would detect ≤ 0." in claim.verdict.sentence
    assert "seeds a data set would be needed" in claim.verdict.sentence
    assert "data sets would be needed" in claim.verdict_new.sentence


def test_the_seeds_that_are_said_to_be_needed_do_find_the_effect(made):
    rows = suite(made, {"old": 1.0, "new": 0.97}, noise=0.05)
    sentence = together(rows)[0].claims[0].verdict.sentence
    needed = int(sentence.split("about ")[1].split(" seeds")[0])
    estimate = together(rows)[0].claims[0].evidence.these.estimate
    spread = estimate.error * np.sqrt(4 * 5)
    draw = np.random.default_rng(0).normal(estimate.value, spread, size=(2000, 4, needed))
    v = draw.var(axis=2, ddof=1) / needed
    t = draw.mean(axis=(1, 2)) / (np.sqrt(v.sum(axis=1)) / 4)
    p = 2 * stats.t.sf(np.abs(t), v.sum(axis=1) ** 2 / (v**2 / (needed - 1)).sum(axis=1))
    assert np.mean(p < 0.05) == pytest.approx(0.8, abs=0.08)


def test_few_seeds_needed_are_counted_with_their_own_degrees_of_freedom():
    # Two data sets of equal spread: 2 (S - 1) degrees of freedom with S seeds each.
    spread, effect, alpha = 1.0, 1.3, 0.01
    enough = next(
        s for s in range(4, 50) if power_of(effect / spread * np.sqrt(2 * s / (2 * s - 1)), 2 * s - 1, alpha) >= 0.8
    )
    assert seeds_to_find(effect, spread / np.sqrt(2 * 3), 4, seeds=3, alpha=alpha) == enough == 6


@pytest.mark.parametrize(("factor", "margin", "word"), [(0.97, 0.1, "too small to matter"), (1.0, 0.1, "equivalent")])
def test_a_declared_margin_decides_what_does_not_matter(made, factor, margin, word):
    (found,) = together(suite(made, {"old": 1.0, "new": factor}, noise=0.02), margin=margin)
    assert found.claims[0].verdict.word == word
    assert "within ±10% of the error" in found.claims[0].verdict.sentence


def test_holm_counts_every_planned_method_and_budget_and_no_upper_bound(made):
    rows = suite(made, {"old": 1.0, "new": 0.9, "other": 1.0}) + suite(made, {"bound": 0.1}, competes=False)
    rows += suite(made, {"old": 1.0, "new": 0.9, "other": 1.0}, budget="large", start=1)
    small, large = together(rows)[::-1]
    assert (small.m, large.m) == (4, 4)
    claims = {(a.budget, c.method): c for a in (small, large) for c in a.claims}
    least = min((c for c in claims.values() if c.competes), key=lambda c: c.evidence.p)
    assert least.p_holm == pytest.approx(4 * least.evidence.p)
    bound = claims[("small", "bound")]
    assert (bound.verdict.word, bound.p_holm, bound.competes) == ("upper bound", None, False)
    assert "bound" not in small.ranked


def test_a_method_without_a_data_set_leaves_the_aggregate_and_shows_the_gap(made):
    rows = suite(made, {"old": 1.0, "new": 0.5, "other": 0.9})
    rows = [r for r in rows if (r["method"], r["dataset"]) != ("new", "d1")]
    (found,) = together(rows)
    claims = {c.method: c for c in found.claims}
    assert claims["new"].evidence.gaps == ("d1",)
    assert "left out of the aggregate, no pairs on d1" in claims["new"].verdict.sentence
    assert (claims["new"].evidence.these, claims["new"].p_holm) == (None, None)
    assert found.ranked == ("old", "other")
    assert claims["other"].verdict.word == "better"


def test_failures_lose_and_the_sign_test_speaks(made):
    rows = suite(made, {"old": 1.0, "new": 0.5})
    for r in rows:
        if r["method"] == "new" and r["seed"] == 0:
            r |= {"status": "failed", "value": None, "error_class": "NonFiniteLoss"}
    (claim,) = together(rows)[0].claims
    assert (claim.evidence.failed, claim.evidence.superiority.k, claim.evidence.superiority.n) == (4, 16, 20)
    assert claim.evidence.test == "sign test, failures as losses"
    assert claim.evidence.p == pytest.approx(stats.binomtest(16, 20).pvalue)
    assert "better in more seeds, with P(better than the reference) = 16/20" in claim.verdict.sentence
    assert "seeds failed" in claim.verdict_new.sentence


def test_a_method_that_always_failed_is_worse_and_ranks_last(made):
    rows = suite(made, {"old": 1.0, "new": 0.5, "good": 0.9})
    for r in rows:
        if r["method"] == "new":
            r |= {"status": "diverged", "value": None}
    (found,) = together(rows)
    claim = next(c for c in found.claims if c.method == "new")
    assert claim.verdict.word == "worse"
    assert dict(zip(found.ranked, found.omnibus.mean_ranks, strict=True))["new"] == 3.0


def test_adding_renaming_and_permuting_leave_a_claims_evidence_alone(made):
    rows = suite(made, {"old": 1.0, "new": 0.98}, seeds=8)
    alone = together(rows)[0].claims[0].evidence
    more = together(rows + suite(made, {"third": 0.3}, seeds=8, start=5))[0]
    assert next(c for c in more.claims if c.method == "new").evidence == alone
    renamed = [{**r, "method": {"new": "a new name"}.get(r["method"], r["method"])} for r in rows]
    assert together(renamed[::-1])[0].claims[0].evidence == alone
    assert alone.these.p_sign_flip != together(rows, seed=1)[0].claims[0].evidence.these.p_sign_flip


def test_other_units_change_nothing(made):
    rows = suite(made, {"old": 1.0, "new": 0.9})
    metres = [{**r, "value": r["value"] / 100, "unit": "m"} if r["unit"] == "cm" else r for r in rows]
    one, two = (together(some)[0].claims[0].evidence for some in (rows, metres))
    assert one.p == pytest.approx(two.p)


def test_aggregates_stay_away_below_ten_data_sets_and_come_from_ten_on(made):
    few = together(suite(made, {"old": 1.0, "new": 0.9, "other": 0.8}))[0]
    assert (few.ranks, few.iqms) == (None, ())
    assert few.no_aggregate.startswith("4 data sets are too few")
    many = together(suite(made, {"old": 1.0, "new": 0.9, "other": 0.8}, data_sets=10))[0]
    assert many.no_aggregate == ""
    assert many.ranks.mean_ranks == many.omnibus.mean_ranks
    assert [name for name, _ in many.iqms] == ["new", "other"]
    assert many.iqms[1][1].value == pytest.approx(-np.log(0.8), abs=0.05)


def test_a_data_set_without_an_error_is_left_out_with_the_reason(made):
    rows = suite(made, {"old": 1.0, "new": 0.9})
    for r in rows:
        if r["dataset"] == "d0":
            r |= {"value": 1.0}
        if r["dataset"] == "d1":
            r |= {"metric": "reward", "unit": "points", "higher_is_better": True}
    (found,) = together(rows)
    assert found.datasets == ("d2", "d3")
    assert found.left_out[0].startswith("d0: old made no error at all")
    assert found.left_out[1].startswith("d1: reward has no best value")
    scales = {"d0": (0.0, 1.0), "d1": (0, 10), "d2": (0, 1), "d3": (6, 0)}
    (scaled,) = together(rows, scales=scales)
    assert (scaled.unit, scaled.datasets, scaled.left_out) == ("normalised score", ("d0", "d1", "d2", "d3"), ())
    part = scaled.claims[0].evidence.parts[3]
    old, new = ([r["value"] for r in rows if (r["dataset"], r["method"]) == ("d3", m)] for m in ("old", "new"))
    assert part.effect == pytest.approx((np.mean(old) - np.mean(new)) / 6)
    with pytest.raises(TableError, match="found no floor and ceiling for d3"):
        together(rows, scales={k: v for k, v in scales.items() if k != "d3"})


def test_an_upper_bound_without_any_error_takes_no_data_set_away(made):
    rows = suite(made, {"old": 1.0, "new": 0.9})
    rows += [
        {**r, "method": "bound", "competes": False, "value": 0.0}
        for r in rows
        if r["unit"] == "cm" and r["method"] == "old"
    ]
    (found,) = together(rows)
    assert len(found.datasets) == 4


def test_a_ratio_of_errors_that_never_varies_has_no_spread_to_judge_by(made):
    rows = [
        made.row(name, seed, factor * error, dataset=dataset, metric="error", unit="cm", higher_is_better=False)
        for dataset in "ab"
        for seed, error in enumerate((0.30, 0.31, 0.37))
        for name, factor in (("old", 1.0), ("new", 0.9))
    ]
    (found,) = across(cells(from_rows(rows), "old"))
    assert found.claims[0].verdict.word == "undecided"
    assert found.claims[0].evidence.p is None


def test_without_two_data_sets_in_the_common_unit_nothing_is_claimed(made):
    rows = suite(made, {"old": 1.0, "new": 0.9}, data_sets=2, budget="tiny")
    rows = [r | {"value": 1.0} if r["dataset"] == "d0" else r for r in rows]
    (found,) = together(rows)
    assert (found.budget, found.datasets, found.claims, found.omnibus) == ("tiny", ("d1",), (), None)
    assert found.no_aggregate == "Fewer than two data sets have a value in the common unit."
    assert len(found.left_out) == 1


def test_one_data_set_is_no_comparison_over_data_sets(made):
    assert together(suite(made, {"old": 1.0, "new": 0.9}, data_sets=1)) == ()
    assert across(()) == ()


def test_two_data_sets_with_one_seed_say_what_is_missing(made):
    (claim,) = together(suite(made, {"old": 1.0, "new": 0.9}, data_sets=2, seeds=1))[0].claims
    assert "a single pair, which has no spread" in claim.verdict.sentence
    assert "2 data sets, and an interval needs three" in claim.verdict_new.sentence


def test_a_data_set_with_two_metrics_needs_a_primary_one(made):
    rows = suite(made, {"old": 1.0, "new": 0.9})
    rows += [{**r, "metric": "top5"} for r in rows if r["dataset"] == "d0"]
    with pytest.raises(TableError, match=r"found the metrics accuracy, top5 for d0.*for example d0: accuracy"):
        together(rows)
    assert together(rows, primary={"d0": "top5"})[0].datasets == ("d0", "d1", "d2", "d3")
    with pytest.raises(TableError, match="found margin 0, expected a positive number"):
        together(rows, primary={"d0": "top5"}, margin=0.0)
