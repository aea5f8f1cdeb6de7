"""Beyond one data set and one score: what the table allows is said, and what it does not, with the reason."""

import base64
import csv
import io

import numpy as np
import pandas as pd
import pytest

from zoombench.reports import beyond as beyond_module
from zoombench.reports import downloads
from zoombench.reports.beyond import gather
from zoombench.reports.cautions import cautions
from zoombench.reports.claims import cells
from zoombench.reports.page import About, render
from zoombench.reports.table import from_rows


def about(**other):
    told = {"sweep": "s", "reference": "uniform", "command": "c", "resolved": "", "versions": {}, "commit": ""}
    return About(**{**told, **other})


@pytest.fixture
def scored(made, tmp_path):
    """Two methods, four seeds, 100 examples each with right or wrong and a probability; rows and prediction files."""
    rng = np.random.default_rng(0)
    hard = rng.uniform(size=100)
    rows, files = [], {}
    for method, skill in (("uniform", 0.5), ("new", 0.7)):
        for seed in range(4):
            score = (rng.uniform(size=100) < np.clip(skill + 0.3 * (hard - 0.5), 0, 1)).astype(float)
            row = made.row(method, seed, float(score.mean()), n_test=100, gflops=1.0, train_seconds=3600.0)
            path = tmp_path / f"{method}-{seed}.parquet"
            pd.DataFrame({"example": range(100), "score": score, "probability": 0.6}).to_parquet(path)
            rows, files = [*rows, row], files | {row["trial_id"]: path}
    return rows, files


def test_several_data_sets_are_put_together_by_budget(made):
    table = from_rows(made.sweep())
    found = gather(table, cells(table, "uniform"), {})
    assert [one.budget for one in found.across] == ["large", "small"]
    page = render(table, about())
    part = page[page.index('id="across"') : page.index('id="compute"')]
    for one in found.across:
        for claim in one.claims:
            assert claim.verdict.sentence.replace("<", "&lt;") in part
            assert claim.verdict_new.sentence in part
        assert one.no_aggregate in part


def test_one_data_set_is_not_put_together(made):
    page = render(from_rows(made.pair([0.7, 0.8, 0.9], [0.6, 0.6, 0.7])), about(reference="old"))
    assert "No budget has two data sets that can be put together." in page


def test_what_cannot_be_put_together_is_a_caution_and_not_an_error(made):
    rows = [
        made.row(m, s, 0.5 + 0.01 * s + 0.1 * (m == "new"), dataset=d, metric=metric, trial_id=f"{m}{s}{d}")
        for m in ("uniform", "new")
        for s in range(3)
        for d, metric in (("a", "accuracy"), ("a", "top5"), ("b", "accuracy"))
    ]
    page = render(from_rows(rows), about())
    caution = page[page.index("Cautions") : page.index('id="differences"')]
    assert "found the metrics accuracy, top5 for a, expected one to stand for it" in caution


def test_every_cost_has_its_claims_and_its_chances(made):
    table = from_rows(made.sweep())
    found = gather(table, cells(table, "uniform", {"accuracy": 0.02}), {})
    assert set(found.trade_offs) == {"gflops", "latency_ms_p50", "peak_memory_mib", "gpu_hours", "train_seconds"}
    chances = found.p_on_front("gflops", 1)
    assert chances["uniform"] == 1.0  # the cheapest
    assert found.undecided("gflops", 1) <= set(chances)
    assert found.p_on_front("energy", 1) == {}
    page = render(table, about(margins={"accuracy": 0.02}))
    assert all(
        c.verdict.sentence.replace("<", "&lt;") in page for one in found.trade_offs["gflops"] for c in one.claims
    )


def test_variance_shares_and_calibration_come_from_the_predictions(scored):
    rows, files = scored
    table = from_rows(rows)
    found = gather(table, cells(table, "uniform"), files)
    (share,) = found.shares
    assert (share.method, share.crossed.n_seeds, share.crossed.n_examples) == ("new", 4, 100)
    right = {row["method"]: [r["value"] for r in rows if r["method"] == row["method"]] for row in rows}
    for one in found.calibrated:
        brier = [value * 0.4**2 + (1 - value) * 0.6**2 for value in right[one.method]]
        assert one.brier == pytest.approx(np.mean(brier))
        assert one.ece == pytest.approx(np.mean([abs(value - 0.6) for value in right[one.method]]))
    page = render(table, about(predictions=files))
    assert share.advice in page
    assert 'aria-label="seeds ' in page
    link = downloads.link(downloads.shares(found.shares))
    rows = csv.DictReader(io.StringIO(base64.b64decode(link.split(",")[1]).decode()))
    assert [row["variance_example"] for row in rows] == [repr(share.crossed.example)]


def test_predictions_of_another_trial_are_said(scored):
    rows, files = scored
    rows[0]["value"] = 0.9
    page = render(from_rows(rows), about(predictions=files))
    assert "They belong to another trial, or the metric is no mean over examples." in page
    assert "nothing tells seeds and examples apart" in page


def test_too_many_predictions_are_left_unread(scored, monkeypatch):
    monkeypatch.setattr(beyond_module, "MOST_TRIALS", 7)
    rows, files = scored
    table = from_rows(rows)
    found = gather(table, cells(table, "uniform"), files)
    assert (found.shares, found.calibrated) == ((), ())
    assert found.reasons == ("Predictions of 8 trials were not read; the report reads those of 7.",)


def test_speed_ups_need_two_budgets(made):
    rows = [
        made.row(m, s, value + 0.01 * s, budget=b, gflops=cost)
        for s in range(3)
        for m, b, value, cost in (
            ("uniform", "small", 0.5, 1.0),
            ("uniform", "large", 0.7, 8.0),
            ("new", "small", 0.6, 1.0),
            ("new", "large", 0.8, 8.0),
        )
    ]
    page = render(from_rows(rows), about())
    assert "The reference's score for less" in page.replace("&#39;", "'")
    assert "The reference's score for less" not in render(
        from_rows([r for r in rows if r["budget"] == "small"]), about()
    )


def test_a_table_with_holes_says_where(made):
    rows = [made.row(m, s, 0.5 + 0.01 * s) for m in ("uniform", "new") for s in range(3)][:-1]
    table = from_rows(rows)
    (caution,) = [text for text in cautions(table, cells(table, "uniform")) if "dense" in text]
    assert caution == "The table is not dense: new on digits, small, accuracy: seed 2 not in the table."


def test_a_page_says_what_was_trained_in_mixed_precision_and_compared_with_what_was_not(made):
    def said(*precisions):
        rows = [
            made.row(method, seed, 0.5 + 0.01 * seed, precision=precision)
            for method, precision in zip(("uniform", "new"), precisions, strict=True)
            for seed in range(3)
        ]
        table = from_rows(rows)
        return [text for text in cautions(table, cells(table, "uniform")) if "precision" in text]

    assert said(None, None) == said("float32", "float32") == said("float32", None) == []
    assert said("bf16", "bf16") == ["Trained in mixed precision, of 6 trials: bf16 × 6."]
    assert said("float32", "fp16") == [
        "Trained in mixed precision, of 6 trials: fp16 × 3. Different precisions are compared with each other "
        "on digits, small (float32 and fp16): run all in one."
    ]
