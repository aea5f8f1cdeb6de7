"""The page: complete, escaped, self-contained, the same bytes, and honest when there is nothing to say."""

import base64
import csv
import hashlib
import io
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from zoombench.harness.errors import TableError
from zoombench.reports import page as page_module
from zoombench.reports.claims import cells
from zoombench.reports.page import About, claimed, render, write
from zoombench.reports.table import from_rows
from zoombench.reports.verdict import sentences

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


def test_the_page_needs_no_network(full):
    page = full[2]
    assert "<link" not in page
    assert re.findall(r"<script[^>]*\bsrc", page) == []
    markup = page[: page.index('<script type="application/json"')]
    outside = set(re.findall(r'(?:src|href)="(?!#|data:)([^"]*)"', markup))
    outside |= set(re.findall(r"url\((?!#)[^)]*\)", markup))
    assert outside == set()
    assert set(re.findall(r"https?://[^\s\"<]+", page)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    assert len(page.encode()) < 5_000_000


def test_only_the_pages_own_script_may_run(full):
    policy = (
        re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', full[2]).group(1).replace("&#39;", "'")
    )
    script = full[2][full[2].rindex("<script>") + len("<script>") : full[2].rindex("</script>")]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")


def test_names_from_the_user_are_escaped_everywhere(full):
    page = full[2]
    for raw in ("<b>thin", "quick <i>", "<script>alert", "class 3 <5>", "[<x>]"):
        assert raw not in page
    assert page.count("<script") == page.count("</script>") == 2
    assert "&lt;b&gt;thin&lt;/b&gt; &amp; plate $x_1$" in page
    assert "alert(2)" in page


def test_every_plot_has_a_title_and_a_finding_and_a_table(full):
    seen = Tags()
    seen.feed(full[2])
    plots = [attrs for tag, attrs in seen.tags if tag == "svg"]
    assert len(plots) == 4 * (2 + 4 + 2)  # forest and scores, four costs, curves over epochs and over hours
    assert all(attrs["role"] == "img" and len(attrs["aria-labelledby"].split()) == 2 for attrs in plots)
    figures = re.findall(r"<figure>\s*<div.*?</figure>", full[2], flags=re.DOTALL)
    assert len([figure for figure in figures if "<svg" in figure]) == 4 * 4
    for figure in figures:
        assert "<svg" not in figure or ("<table" in figure and 'href="data:text/csv' in figure)


def test_the_csv_beside_a_plot_holds_its_numbers(full):
    found = claimed(*full[:2])
    part = full[2][full[2].index('id="differences"') : full[2].index('id="scores"')]
    links = re.findall(r'<a class="csv" download="([^"]*)" href="data:text/csv;charset=utf-8;base64,([^"]*)"', part)
    assert len(links) == len(found)
    for cell, (name, content) in zip(found, links, strict=True):
        rows = list(csv.DictReader(io.StringIO(base64.b64decode(content).decode())))
        assert name == f"differences {cell.title}.csv"
        assert [row["method"] for row in rows] == [claim.method for claim in cell.claims]
        for row, claim in zip(rows, cell.claims, strict=True):
            assert row["difference"] == ("" if claim.comparison.effect is None else repr(claim.comparison.effect))


def test_every_wide_thing_scrolls_in_its_own_reachable_box(full):
    seen = Tags()
    seen.feed(full[2])
    boxes = [attrs for tag, attrs in seen.tags if attrs.get("class") == "scroll"]
    assert all(attrs["tabindex"] == "0" and attrs["aria-label"] for attrs in boxes)
    assert all('<div class="scroll"' in before[-400:] for before in full[2].split("<table")[:-1])


def test_the_verdict_comes_first_and_says_how_sure_it_is(full):
    page = full[2]
    verdict = page[page.index('id="verdict"') : page.index('id="differences"')]
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
    part = page[page.index('id="unfinished"') : page.index('id="published"')]
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
        (tmp_path / f"{number}-image.png").write_bytes(PNG + bytes(1_300_000))
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


PAIRS = [("ink", "paper"), ("ink", "card"), ("ink", "wash"), ("soft", "paper"), ("soft", "card"), ("link", "paper")]
PAIRS += [("link", "card"), ("mark", "wash")]
STYLE = (Path(page_module.__file__).parent / "templates" / "style.css").read_text()


def palette(scheme):
    """The colours of one colour scheme, as the browser resolves them."""
    blocks = re.findall(r":root \{([^}]*)\}", STYLE)
    chosen = {"light": blocks[:1], "dark": blocks[:2], "print": [blocks[0], blocks[2]]}[scheme]
    return dict(pair for block in chosen for pair in re.findall(r"--(\w+): (#[0-9a-f]+)", block))


def channels(colour):
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    return np.array([int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)])


def contrast(a, b):
    linear = [np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4) for c in (a, b)]
    low, high = sorted(float(one @ [0.2126, 0.7152, 0.0722]) for one in linear)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark", "print"])
def test_text_keeps_a_contrast_of_four_and_a_half(scheme):
    colours = {name: channels(colour) for name, colour in palette(scheme).items()}
    assert [pair for pair in PAIRS if contrast(colours[pair[0]], colours[pair[1]]) < 4.5] == []
    for side in ("up", "down"):
        for strength in range(0, 61, 5):  # color-mix(in srgb, …) of the matrix
            mixed = colours[side] * strength / 100 + colours["card"] * (1 - strength / 100)
            assert contrast(colours["ink"], mixed) >= 4.5, (side, strength)
    assert contrast(colours["edge"], colours["card"]) >= 3  # borders of what can be clicked


def test_the_verdict_is_three_sentences(full):
    lead = re.search(r'<p class="lead">(.*?)</p>', full[2], re.DOTALL).group(1)
    assert re.match(r"Of 8 planned comparisons with uniform, \d find a better method and \d are undecided\. ", lead)
    assert re.search(r"saliency_sampler is better than uniform on \d of 4 combinations of data set and budget", lead)
    assert lead.endswith("not for new test examples or other data sets.")


def test_the_verdict_on_the_best_method_says_where_it_is_worse(made):
    rows = [
        made.row(name, seed, round(0.5 + 0.01 * seed + (by + 0.001 * seed) * (name == "new"), 4), dataset=dataset)
        for dataset, by in (("a", 0.1), ("b", -0.1), ("c", -0.2))
        for name in ("uniform", "new")
        for seed in range(5)
    ]
    _, best, _ = sentences(cells(from_rows(rows), "uniform"))
    assert best.startswith("new is better than uniform on 1 of 3 combinations of data set and budget, such as by")
    assert best.endswith("; it is worse on 2.")
    twice = [*rows, *({**row, "metric": "f1"} for row in rows)]
    _, best, _ = sentences(cells(from_rows(twice), "uniform"))
    assert "on 2 of 6 combinations of data set, budget and metric" in best


def test_a_failure_without_a_cause_is_said_to_have_none(made):
    page = render(from_rows([made.row(), made.row("new"), made.failed("new", 1, error="")]), about())
    assert "1 trial failed without a cause. That counts against a method as divergence does" in page
    assert "1 failed without a cause (an outcome)" in page


def test_alpha_sets_every_level_on_the_page(made):
    page = render(from_rows(made.sweep()), about(alpha=0.01))
    assert "Intervals are 99% and unadjusted" in page
    assert "alpha = 0.01" in page
    assert "[95%" not in page


def test_methods_and_data_sets_keep_the_order_of_the_sweep(made):
    order = ("saliency_sampler", made.hostile, "uniform", "oracle_crop")
    places = (("gaze", "small"), ("digits", "small"), ("digits", "large"), ("gaze", "large"))
    found = claimed(from_rows(made.sweep()), about(methods=order, places=places))
    assert [(cell.dataset, cell.budget) for cell in found] == list(places)
    assert [entry.method for entry in found[0].entries] == ["uniform", "saliency_sampler", made.hostile, "oracle_crop"]


def test_a_flipped_example_is_said(made, tmp_path):
    rows = [made.row(seed=0), made.row("new", 0, 0.6)]
    for number in range(6):
        (tmp_path / f"{number}-image.png").write_bytes(PNG + bytes([number]))
    right = {"uniform": [1, 1, 1, 1, 1, 0], "new": [1, 1, 1, 0, 1, 1]}
    predictions = {}
    for r in rows:
        predictions[r["trial_id"]] = tmp_path / f"{r['method']}.parquet"
        pd.DataFrame({"example": range(6), "score": right[r["method"]]}).to_parquet(predictions[r["trial_id"]])
    page = render(from_rows(rows), about(looks=dict.fromkeys(predictions, tmp_path), predictions=predictions))
    shown = page[page.index('id="looked"') : page.index('id="unfinished"')]
    assert shown.count("<img") == 8
    new = shown[shown.index("<h3>new") :]
    assert re.findall(r'<p class="soft">(.*?)</p>', new) == [
        "right, as uniform",
        "right, as uniform",
        "flipped: wrong, where uniform is right",
        "flipped: right, where uniform is wrong",
    ]


def test_thousands_of_failures_are_counted_and_some_are_listed(made):
    rows = [made.row(seed=s) for s in range(3)] + [made.failed("new", s) for s in range(1000)]
    table = from_rows(rows)
    tracebacks = dict.fromkeys(table.loc[table["status"] == "failed", "trial_id"], "Traceback: boom")
    page = render(table, about(tracebacks=tracebacks))
    assert "1000 failed: NonFiniteLoss (an outcome)" in page
    assert "And 800 more, in results.csv." in page
    assert page.count("Traceback: boom") == 10


def test_equal_values_make_a_page_that_says_so(made):
    page = render(from_rows([made.row(m, s, 0.5) for m in ("uniform", "new") for s in range(5)]), about())
    assert "identical on every seed" in page


def test_thousands_of_seeds_make_a_small_page(made):
    rng = np.random.default_rng(0)
    page = render(
        from_rows([made.row(m, s, float(rng.uniform())) for m in ("uniform", "new") for s in range(3000)]), about()
    )
    assert len(page.encode()) < 300_000
    assert "3000 of 3000" in page


@pytest.mark.slow
def test_twelve_methods_six_data_sets_and_five_seeds_stay_below_five_megabytes(made, tmp_path):
    rng = np.random.default_rng(0)
    rows = [
        made.row(f"method_{m}", seed, float(rng.uniform(0.4, 0.9)), dataset=f"data_{d}", **COSTS | {"gflops": 1.0 + m})
        for d in range(6)
        for m in range(12)
        for seed in range(5)
    ]
    for number in range(4):
        for kind in ("image", "saliency", "grid", "resampled"):
            (tmp_path / f"{number}-{kind}.png").write_bytes(PNG + rng.bytes(20_000))
    frame = pd.concat([learning(rows).assign(epoch=lambda f, k=k: f["epoch"] + 5 * k) for k in range(20)])
    loss = frame.assign(metric="loss", split="train")
    looks = {r["trial_id"]: tmp_path for r in rows if r["seed"] == 0}
    told = about(reference="method_0", curves=pd.concat([frame, loss]), looks=looks)
    page = render(from_rows(rows), told)
    assert 4_000_000 < len(page.encode()) < 5_000_000
    assert "left out to keep the page small" in page
    assert page.count("<img") > 4


COSTS = {
    "latency_ms_p50": 3.0,
    "latency_ms_p90": 4.0,
    "peak_memory_mib": 300.0,
    "train_seconds": 60.0,
    "gpu_hours": 0.02,
    "parameters": 1000,
    "flop_coverage": 1.0,
}
