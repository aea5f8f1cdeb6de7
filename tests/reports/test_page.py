"""The page: complete, escaped, self-contained, the same bytes, and honest when there is nothing to say."""

import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from zoombench.harness.errors import TableError
from zoombench.reports.page import About, render, write
from zoombench.reports.table import from_rows

PNG = b"\x89PNG\r\n\x1a\n" + bytes(40)


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.ids, self.stack, self.bad = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in ("meta", "img", "br", "link", "input", "path", "use"):
            self.stack.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id"]

    def handle_endtag(self, tag):
        if tag in ("path", "use"):
            return
        if not self.stack or self.stack.pop() != tag:
            self.bad.append((tag, self.getpos()))


def about(**other):
    filled = {
        "sweep": "quick <i>start",
        "reference": "uniform",
        "command": "zoombench run quickstart",
        "resolved": "methods: [<x>]\n",
        "versions": {"python": "3.11", "torch": "2.11"},
        "commit": "abc123",
    }
    return About(**{**filled, **other})


def learning(rows):
    return pd.DataFrame(
        [
            {
                **{k: r[k] for k in ("trial_id", "method", "dataset", "budget", "seed", "metric")},
                "epoch": epoch,
                "split": "validation",
                "value": r["value"] * (1 - 0.5 * np.exp(-epoch / 3)),
            }
            for r in rows
            if r["value"] is not None
            for epoch in range(1, 6)
        ]
    )


@pytest.fixture(scope="module")
def full(made, tmp_path_factory):
    """The page of a sweep with everything in it, and what it was made from."""
    rows = made.sweep()
    looks = {}
    for r in rows:
        if r["method"] in ("uniform", made.hostile) and r["dataset"] == "digits" and r["status"] == "done":
            folder = tmp_path_factory.mktemp("looks")
            for number in range(6):
                for kind in ("image", "grid", "resampled"):
                    (folder / f"{number}-{kind}.png").write_bytes(PNG + bytes([r["seed"]]))
                (folder / f"{number}.txt").write_text("class 3 <5>")
            looks[r["trial_id"]] = folder
    failed = next(r["trial_id"] for r in rows if r["status"] == "failed")
    told = about(looks=looks, tracebacks={failed: "Traceback\n<script>alert(2)</script>"}, curves=learning(rows))
    table = from_rows(rows)
    return table, told, render(table, told)


def test_the_same_input_gives_the_same_bytes_in_any_order(full):
    table, told, page = full
    assert render(table.sample(frac=1, random_state=2), told) == page


def test_the_page_is_well_formed_and_its_ids_are_unique(full):
    seen = Tags()
    seen.feed(full[2])
    assert (seen.bad, seen.stack) == ([], [])
    assert len(seen.ids) == len(set(seen.ids))


def test_every_reference_inside_the_page_has_its_target(full):
    seen = Tags()
    seen.feed(full[2])
    wanted = set(re.findall(r'(?:href="#|url\(#)([^")]+)', full[2]))
    wanted |= {i for _, attrs in seen.tags for i in attrs.get("aria-labelledby", "").split()}
    assert wanted <= set(seen.ids)


def test_the_page_needs_no_network_and_no_script(full):
    page = full[2]
    assert "<script" not in page
    assert "<link" not in page
    outside = set(re.findall(r'(?:src|href)="(?!#|data:)([^"]*)"', page)) | set(re.findall(r"url\((?!#)[^)]*\)", page))
    assert outside == set()
    assert set(re.findall(r"https?://[^\s\"<]+", page)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    assert len(page.encode()) < 5_000_000


def test_names_from_the_user_are_escaped_everywhere(full):
    page = full[2]
    for raw in ("<b>thin", "quick <i>", "<script>", "class 3 <5>", "[<x>]"):
        assert raw not in page
    assert "&lt;b&gt;thin&lt;/b&gt; &amp; plate $x_1$" in page
    assert "alert(2)" in page


def test_every_plot_has_a_title_and_a_finding_and_a_table(full):
    seen = Tags()
    seen.feed(full[2])
    plots = [attrs for tag, attrs in seen.tags if tag == "svg"]
    assert len(plots) == 16
    assert all(attrs["role"] == "img" and len(attrs["aria-labelledby"].split()) == 2 for attrs in plots)
    for figure in re.findall(r"<figure>\s*<div.*?</figure>", full[2], flags=re.DOTALL):
        assert "<svg" not in figure or "<table" in figure


def test_every_wide_thing_scrolls_in_its_own_reachable_box(full):
    seen = Tags()
    seen.feed(full[2])
    boxes = [attrs for tag, attrs in seen.tags if attrs.get("class") == "scroll"]
    assert all(attrs["tabindex"] == "0" and attrs["aria-label"] for attrs in boxes)
    assert all('<div class="scroll"' in before[-400:] for before in full[2].split("<table")[:-1])


def test_the_verdict_comes_first_and_says_how_sure_it_is(full):
    page = full[2]
    verdict = page[page.index('id="verdict"') : page.index('id="scores"')]
    assert re.search(
        r"<strong>saliency_sampler</strong> against uniform: better by .* points, 95% interval \[", verdict
    )
    assert re.search(r"n = 5 paired seeds; Holm p = \S+, m = 8\); it costs 2.6 × the GFLOPs", verdict)
    assert "Conclusion depends on failures" in page or "failed on digits" in verdict
    assert "not what new test examples or new data sets would" in verdict


def test_pictures_are_of_the_lowest_finished_seed_and_at_most_four(full):
    page = full[2]
    looked = page[page.index('id="looked"') : page.index('id="unfinished"')]
    assert looked.count("<img") == 4 * 4 * 3
    assert looked.count("seed 0, trial") == 4
    assert all(attrs for attrs in re.findall(r'<img [^>]*alt="([^"]+)"', looked))


def test_failed_skipped_and_missing_trials_are_listed_with_folded_tracebacks(full):
    page = full[2]
    part = page[page.index('id="unfinished"') : page.index('id="again"')]
    for word in ("NonFiniteLoss", "WorkerLost", "a crop needs boxes", "not run yet", "<summary>Traceback</summary>"):
        assert word in part


@pytest.mark.parametrize("status", ["failed", "skipped", "missing"])
def test_a_page_without_a_score_says_so(made, status):
    rows = [made.row(m, s, None, status=status) for m in ("uniform", "new") for s in range(3)]
    page = render(from_rows(rows), about())
    assert "No trial has finished, so there is nothing to compare." in page
    assert "<svg" not in page


def test_an_empty_table_says_so():
    assert "The table is empty." in render(from_rows([]), about())


@pytest.mark.parametrize("seeds", [1, 2])
def test_a_single_method_and_few_seeds_make_a_page(made, seeds):
    page = render(from_rows([made.row(seed=s) for s in range(seeds)]), about())
    assert "No method competes with uniform here." in page


def test_a_name_in_another_script_is_no_obstacle(made):
    rows = [made.row(name, s, 0.5 + 0.01 * s * len(name), gflops=1.0) for name in ("uniform", "視線") for s in range(3)]
    assert "視線" in render(from_rows(rows), about())


def test_an_empty_frame_of_curves_is_no_curves(made):
    page = render(from_rows([made.row(value=None, status="missing")]), about(curves=pd.DataFrame([])))
    assert "No learning curves were given." in page


def test_a_declared_margin_is_printed(made):
    page = render(from_rows(made.sweep()), about(margins={"accuracy": 0.02}))
    assert "The grey band is the declared margin of ±2.00 points" in page
    assert "accuracy ±0.02" in page


def test_a_picture_that_is_no_png_or_is_absent_is_said_and_not_embedded(made, tmp_path):
    (tmp_path / "0-image.png").write_bytes(b"<svg onload=alert(1)>")
    rows = [made.row(), made.row("new", value=0.6)]
    looks = {rows[0]["trial_id"]: tmp_path, rows[1]["trial_id"]: tmp_path / "nowhere"}
    page = render(from_rows(rows), about(looks=looks))
    assert "0-image.png is no PNG file" in page
    assert "no pictures to show" in page
    assert "<img" not in page


def test_many_large_pictures_are_left_out_to_keep_the_page_small(made, tmp_path):
    for number in range(4):
        (tmp_path / f"{number}-image.png").write_bytes(PNG + bytes(900_000))
    page = render(from_rows([made.row()]), about(looks={made.row()["trial_id"]: tmp_path}))
    assert page.count("<img") == 2
    assert "left out to keep the page small" in page
    assert len(page.encode()) < 5_000_000


def test_an_unknown_reference_is_refused(made):
    with pytest.raises(TableError, match="no trial of the reference 'nobody'"):
        render(from_rows([made.row()]), about(reference="nobody"))


def test_write_leaves_the_page_and_the_table_side_by_side(made, tmp_path):
    table = from_rows(made.pair([0.7, 0.8, 0.9], [0.6, 0.6, 0.6]))
    path = write(table, about(reference="old"), tmp_path / "new folder")
    assert path.read_text(encoding="utf-8") == render(table, about(reference="old"))
    assert sorted(p.name for p in path.parent.iterdir()) == ["report.html", "results.csv", "results.parquet"]


@pytest.mark.parametrize(("code", "found"), [("", "[]"), ("import mlflow", "['mlflow']")])
def test_the_page_never_loads_torch_ray_or_mlflow(tmp_path, code, found):
    # The second case shows that the test can fail: a module of that name is seen.
    (tmp_path / "mlflow.py").write_text("")
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {code or 'pass'}; import zoombench.reports.page; "
        "print([m for m in ('torch', 'ray', 'mlflow') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == found
