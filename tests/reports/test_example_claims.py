"""Variance shares and calibration from predictions, best-of-n from searches."""

import numpy as np
import pandas as pd
import pytest

from zoombench.harness.errors import TableError
from zoombench.reports.example_claims import calibrations, two_checkpoints, variance_shares
from zoombench.reports.examples import crossed
from zoombench.reports.search_claims import best_of
from zoombench.reports.table import from_rows


def scored(made, *, seeds=4, examples=50, seed_noise=0.3, up=True):
    """Rows of `old` and `new` with their predictions."""
    rng, rows, predictions = np.random.default_rng(0), [], {}
    hardness = rng.normal(size=examples)
    for method, shift in (("old", 0.0), ("new", 0.5)):
        for seed in range(seeds):
            score = hardness + shift + rng.normal(0, seed_noise) + rng.normal(0, 0.2, examples)
            one = made.row(method, seed, float(score.mean()), higher_is_better=up, train_seconds=1800.0, n_test=None)
            rows.append(one | {"metric": "margin", "unit": "nats"})
            predictions[one["trial_id"]] = pd.DataFrame({"example": np.arange(examples), "score": score})
    return rows, predictions


def test_the_shares_are_those_of_the_crossed_analysis_of_paired_differences(made):
    rows, predictions = scored(made)
    (found,) = variance_shares(from_rows(rows), predictions, "old")
    new, old = (
        np.stack([predictions[r["trial_id"]]["score"] for r in rows if r["method"] == m]) for m in ("new", "old")
    )
    assert found.crossed == crossed(new - old)
    assert found.crossed.shares[0] > 0.8
    assert found.half_width_one_more_seed < found.half_width_more_examples <= found.half_width * 1.0001
    assert found.hours_per_seed == pytest.approx(1.0)
    assert "one more seed would narrow the interval by" in found.advice
    assert "for 1 hours" in found.advice


def test_lower_is_better_turns_the_sign_and_nothing_else(made):
    rows, predictions = scored(made)
    turned, _ = scored(made, up=False)
    one, two = (variance_shares(from_rows(r), predictions, "old")[0] for r in (rows, turned))
    assert one.crossed.value == pytest.approx(-two.crossed.value)
    assert one.crossed.shares == pytest.approx(two.crossed.shares)


def test_the_order_of_examples_changes_nothing_and_clusters_are_used(made):
    rows, predictions = scored(made)
    shuffled = {k: frame.sample(frac=1, random_state=i) for i, (k, frame) in enumerate(predictions.items())}
    one, two = (variance_shares(from_rows(rows), p, "old")[0].crossed for p in (predictions, shuffled))
    assert one == two
    grouped = {k: frame.assign(cluster=frame["example"] // 5) for k, frame in predictions.items()}
    (found,) = variance_shares(from_rows(rows), grouped, "old")
    assert found.crossed.n_examples == 10
    assert "1000 more clusters" in found.advice


def test_two_checkpoints_in_clusters_change_the_sign_of_whole_clusters(made):
    rows, predictions = scored(made, seeds=1)
    grouped = {k: frame.assign(cluster=frame["example"] // 5) for k, frame in predictions.items()}
    alone, together = (two_checkpoints(from_rows(rows), p, "new", "old") for p in (predictions, grouped))
    assert (alone.n, alone.unit, alone.test) == (50, "test examples", "sign-flip")
    assert (together.n, together.unit) == (10, "clusters of test examples")
    assert together.difference == pytest.approx(alone.difference)
    turned, _ = scored(made, seeds=1, up=False)
    assert two_checkpoints(from_rows(turned), predictions, "new", "old").difference == pytest.approx(-alone.difference)
    assert two_checkpoints(from_rows(scored(made, seeds=2)[0]), scored(made, seeds=2)[1], "new", "old") is None


def test_predictions_that_do_not_belong_are_refused(made):
    rows, predictions = scored(made)
    table = from_rows(rows)
    last = rows[-1]["trial_id"]
    with pytest.raises(TableError, match=r"expected its value .*They belong to another trial"):
        variance_shares(table, predictions | {last: predictions[last].assign(score=9.0)}, "old")
    with pytest.raises(TableError, match="found an example twice"):
        variance_shares(table, predictions | {last: predictions[last].assign(example=0)}, "old")
    with pytest.raises(TableError, match="expected the same examples for all trials of a data set"):
        variance_shares(table, predictions | {last: predictions[last].assign(example=np.arange(50) + 1)}, "old")


def test_one_seed_no_predictions_and_no_variance_are_not_invented(made):
    rows, predictions = scored(made, seeds=1)
    assert variance_shares(from_rows(rows), predictions, "old") == ()
    rows, predictions = scored(made)
    assert variance_shares(from_rows(rows), {}, "old") == ()
    same = {r["trial_id"]: pd.DataFrame({"example": [0, 1], "score": [0.5, 0.5]}) for r in rows}
    (found,) = variance_shares(from_rows([{**r, "value": 0.5} for r in rows]), same, "old")
    assert (found.interval, found.half_width) == (None, None)
    assert "nothing to buy" in found.advice


def test_calibration_reads_probability_and_score(made):
    rows = [made.row("old", s, 0.5) for s in range(2)] + [made.failed("old", 2)]
    frame = pd.DataFrame({"example": [0, 1, 2, 3], "score": [1.0, 1.0, 0.0, 0.0], "probability": [0.9, 0.6, 0.6, 0.5]})
    found = calibrations(
        from_rows(rows), {"old-digits-small-0": frame, "old-digits-small-1": frame[["example", "score"]]}
    )
    assert [(one.method, one.seed, one.calibration.n) for one in found] == [("old", 0, 4)]
    assert found[0].calibration.brier == pytest.approx((0.01 + 0.16 + 0.36 + 0.25) / 4)


def searches(made, values, **other):
    return [
        made.row(f"config{place}", 0, value, split="validation", train_seconds=360.0, **other)
        for place, value in enumerate(values)
    ]


def test_the_best_of_n_comes_from_validation_scores_of_configurations(made):
    rows = searches(made, [0.5, 0.7, 0.6])
    (found,) = best_of(from_rows(rows), {"sampler": ["config0", "config1", "config2"]})
    assert found.best.expected == pytest.approx(((0.5 + 0.6 + 0.7) / 3, (0.7 + 0.7 + 0.6) / 3, 0.7))
    assert (found.method, found.reason, found.hours) == ("sampler", "", pytest.approx(0.1))


def test_a_search_without_a_fair_curve_says_why(made):
    labels = {"sampler": ["config0", "config1"]}
    rows = searches(made, [0.5, 0.7])
    changes = {
        "survivors of a search": {"status": "stopped"},
        "scores are of the test split": {"split": "test"},
        "did not run": {"status": "missing", "value": None},
        "no floor was declared": {"status": "diverged", "value": None},
    }
    for reason, change in changes.items():
        (found,) = best_of(from_rows([rows[0], rows[1] | change]), labels)
        assert found.best is None
        assert reason in found.reason
    failed = from_rows([rows[0], rows[1] | {"status": "diverged", "value": None}])
    assert best_of(failed, labels, floors={"digits": 0.1})[0].best.expected == pytest.approx((0.3, 0.5))
    with pytest.raises(TableError, match="found no trials of nobody"):
        best_of(from_rows(rows), {"sampler": ["nobody"]})
