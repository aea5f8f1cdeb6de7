"""Every pair of methods: what the comparisons with a reference say, from every side."""

import numpy as np
import pytest
from scipy.stats import ttest_rel
from statsmodels.stats.multitest import multipletests

from zoombench.reports.claims import cells
from zoombench.reports.pairwise import matrices
from zoombench.reports.table import from_rows


def rows(made, values, **other):
    return [made.row(name, seed, v, **other) for name, listed in values.items() for seed, v in enumerate(listed)]


@pytest.fixture(scope="module")
def found(made):
    return cells(from_rows(made.sweep()), "uniform")


def test_a_pair_is_the_comparison_with_that_reference(made, found):
    table = from_rows(made.sweep())
    for cell, matrix in zip(found, matrices(found), strict=True):
        for j, reference in enumerate(matrix.methods):
            claims = {(c.dataset, c.budget): c for c in cells(table, reference)}[cell.dataset, cell.budget].claims
            compared = {claim.method: claim.comparison for claim in claims}
            for i, method in enumerate(matrix.methods):
                pair = matrix.pairs[i][j]
                if method == reference:
                    assert pair is None
                    continue
                c = compared[method]
                assert pair.n == c.complete
                if c.complete < 3:
                    assert pair.difference is None
                    continue
                assert pair.difference == pytest.approx(c.effect, abs=1e-12)
                assert pair.interval.low == pytest.approx(c.interval.low, abs=1e-12)
                assert pair.interval.high == pytest.approx(c.interval.high, abs=1e-12)


def test_both_sides_of_a_pair_mirror_each_other(found):
    for matrix in matrices(found):
        for i, line in enumerate(matrix.pairs):
            for j, pair in enumerate(line):
                other = matrix.pairs[j][i]
                if pair is None or pair.difference is None:
                    continue
                assert (other.difference, other.p_holm) == (-pair.difference, pair.p_holm)
                assert (other.interval.low, other.interval.high) == (-pair.interval.high, -pair.interval.low)


def test_p_is_the_paired_t_test_corrected_over_every_pair(made):
    rng = np.random.default_rng(0)
    values = {name: (0.5 + 0.02 * k + rng.normal(0, 0.02, 6)).tolist() for k, name in enumerate("abcd")}
    (matrix,) = matrices(cells(from_rows(rows(made, values, metric="miou")), "a"))
    upper = [(i, j) for i in range(4) for j in range(i + 1, 4)]
    raw = [ttest_rel(values["abcd"[i]], values["abcd"[j]]).pvalue for i, j in upper]
    expected = multipletests(raw, method="holm")[1]
    assert [matrix.pairs[i][j].p_holm for i, j in upper] == pytest.approx(expected.tolist(), rel=1e-9)
    assert [matrix.pairs[i][j].decided for i, j in upper] == (expected < 0.05).tolist()


def test_a_pair_with_a_failure_is_shown_and_not_tested(made):
    made_rows = made.pair([0.7, None, 0.8, 0.9], [0.6, 0.61, 0.62, 0.63])
    (matrix,) = matrices(cells(from_rows(made_rows), "old"))
    pair = matrix.pairs[1][0]
    assert (pair.n, pair.failed, pair.p_holm, pair.decided) == (3, True, None, False)
    assert pair.difference == pytest.approx((0.1 + 0.18 + 0.27) / 3)


def test_company_changes_no_difference(made):
    values = {"a": [0.5, 0.52, 0.51], "b": [0.6, 0.59, 0.63], "c": [0.1, 0.9, 0.3]}
    (small,) = matrices(cells(from_rows(rows(made, {k: values[k] for k in "ab"})), "a"))
    (large,) = matrices(cells(from_rows(rows(made, values)), "a"))
    assert (small.pairs[1][0].difference, small.pairs[1][0].interval) == (
        large.pairs[1][0].difference,
        large.pairs[1][0].interval,
    )


def test_equal_methods_have_a_p_of_one_and_a_constant_difference_has_none(made):
    values = {"a": [0.5, 0.6, 0.7], "b": [0.5, 0.6, 0.7], "c": [0.6, 0.7, 0.8]}
    (matrix,) = matrices(cells(from_rows(rows(made, values)), "a"))
    assert (matrix.pairs[0][1].difference, matrix.pairs[0][1].interval, matrix.pairs[0][1].p_holm) == (0.0, None, 1.0)
    assert matrix.pairs[2][0].interval is None
    assert matrix.pairs[2][0].p_holm is None
    assert matrix.largest == pytest.approx(0.1)
