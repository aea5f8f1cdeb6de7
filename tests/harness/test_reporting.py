"""report, compare and merge on the command line: of sweeps, of anyone's tables, and of both."""

import csv
import io
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from scipy import stats

from zoombench.harness import cli, spec
from zoombench.harness.ledger import Ledger, write_json

QUICKSTART = Path(__file__).parents[1] / "reports" / "quickstart.csv"


@pytest.fixture
def at(tmp_path, monkeypatch):
    """A folder of its own to stand in, with anyone's table in it."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(QUICKSTART, "mine.csv")
    return tmp_path


@pytest.fixture
def finished(at, sweep_file):
    """A sweep of two methods and three seeds whose records are there as if they had run."""

    def make(file="small", *, shift=0.0, **keys):
        methods = {"tiny": {}, "wide": {"method": "tiny", "width": 8}}
        path = sweep_file(file, **{"methods": methods, "seeds": 3, "reference": "tiny"} | keys)
        ledger = Ledger.open(at / "results")
        for trial in spec.load(str(path)).runnable:
            folder = ledger.folder(trial.id)
            folder.mkdir(parents=True, exist_ok=True)
            value = (
                0.5 + 0.01 * trial.seed + (0.2 + 0.001 * trial.seed if trial.method.label == "wide" else 0.0) + shift
            )
            score = {"split": "test", "epoch": 2, "metric": "accuracy", "value": value}
            (folder / "metrics.jsonl").write_text(pd.Series(score).to_json() + "\n")
            codes = {"method_code": trial.method.fingerprint, "dataset_code": trial.dataset.fingerprint}
            done = {"n_test": 1000, "gpu_hours": 0.0, "train_seconds": 1.0, "precision": "float32", "commit": "abc"}
            write_json(folder / "done.json", done | codes)
        return path

    return make


def say(capsys, *words):
    """Exit code, and what was printed."""
    code = cli.main([str(word) for word in words])
    told = capsys.readouterr()
    return code, told.out + told.err


def test_a_bare_table_becomes_a_page(at, capsys):
    code, told = say(capsys, "report", "mine.csv", "--reference", "uniform", "--margin", "accuracy=0.01")
    assert (code, told) == (0, f"report: {at / 'report' / 'report.html'}\n")
    page = (at / "report" / "report.html").read_text()
    assert "saliency_sampler is better by 59.35 points" in page
    assert '<p class="soft">20 trials; 0 failed,' in page, "nobody knows what was planned"
    assert "The grey band is the declared margin of ±1.00 points" in page
    assert "zoombench report mine.csv --reference uniform --margin accuracy=0.01" in page
    assert sorted(path.name for path in (at / "report").iterdir()) == ["report.html", "results.csv", "results.parquet"]


def test_the_page_of_a_page_is_the_same(at, capsys):
    say(capsys, "report", "mine.csv", "--reference", "uniform", "-o", "one")
    say(capsys, "report", "mine.csv", "--reference", "uniform", "-o", "two")
    assert (at / "one" / "report.html").read_bytes() == (at / "two" / "report.html").read_bytes()


@pytest.mark.parametrize(("kind", "first"), [("tex", r"\begin{table}"), ("md", "# mine"), ("csv", "dataset,budget,")])
def test_other_formats_are_printed_or_written(at, capsys, kind, first):
    code, told = say(capsys, "report", "mine.csv", "--reference", "uniform", "--format", kind)
    assert code == 0
    assert told.startswith(first)
    code, said = say(capsys, "report", "mine.csv", "--reference", "uniform", "--format", kind, "-o", f"deep/t.{kind}")
    assert (code, said) == (0, f"report: {at / 'deep' / f't.{kind}'}\n")
    assert (at / "deep" / f"t.{kind}").read_text() == told


def test_alpha_and_metric_are_heeded(at, capsys):
    words = ("report", "mine.csv", "--reference", "uniform", "--format", "csv")
    _, wide = say(capsys, *words, "--alpha", "0.01", "--metric", "accuracy")
    _, plain = say(capsys, *words)
    a, b = (list(csv.DictReader(io.StringIO(text)))[1] for text in (wide, plain))
    assert float(a["difference_low"]) < float(b["difference_low"])


def test_a_failure_before_any_score_still_counts_when_one_metric_is_chosen(at, capsys):
    rows = [
        f"{name},cars,{seed},accuracy,0.{5 + (name == 'new')}{seed},true,done"
        for name in ("old", "new")
        for seed in range(6)
        if name == "old" or seed < 3
    ]
    rows += [f"new,cars,{seed},,,,diverged" for seed in range(3, 6)]
    rows += ["other,boats,0,,,,diverged", "old,boats,0,f1,0.5,true,done"]
    (at / "lost.csv").write_text("\n".join(["method,dataset,seed,metric,value,higher_is_better,status", *rows]) + "\n")
    words = ("report", "lost.csv", "--reference", "old", "--format", "csv")
    every, one = (say(capsys, *words, *more)[1] for more in ((), ("--metric", "accuracy")))
    for text in (every, one):
        new = next(row for row in csv.DictReader(io.StringIO(text)) if row["method"] == "new")
        assert (new["failed_pairs"], new["test"], new["verdict"]) == ("3", "sign test, failures as losses", "undecided")
    assert "boats" not in one


MISTAKES = {
    "no reference": (
        ["report", "mine.csv"],
        "no reference in mine; expected --reference with one of: uniform, saliency",
    ),
    "another reference": (
        ["report", "mine.csv", "--reference", "x"],
        "no method 'x' in mine; expected --reference with",
    ),
    "a metric": (
        ["report", "mine.csv", "--reference", "uniform", "--metric", "x"],
        "no metric 'x' in mine; expected one",
    ),
    "a margin": (
        ["report", "mine.csv", "--reference", "uniform", "--margin", "0.1"],
        "--margin 0.1: expected METRIC=NUMB",
    ),
    "a margin's metric": (["report", "mine.csv", "--reference", "uniform", "--margin", "x=1"], "no metric 'x' in mine"),
    "a margin's number": (
        ["report", "mine.csv", "--reference", "uniform", "--margin", "accuracy=-1"],
        "found margin -1.0 for accuracy, expected a positive number",
    ),
    "alpha": (
        ["report", "mine.csv", "--reference", "uniform", "--alpha", "2"],
        "found alpha 2, expected a number above 0",
    ),
    "no table": (["report", "nowhere.csv", "--reference", "a"], "no table at nowhere.csv"),
    "a folder in the way": (
        ["report", "mine.csv", "--reference", "uniform", "-o", "mine.csv"],
        "cannot be written: File exists. Name another with --output.",
    ),
    "a file where the figures belong": (
        ["report", "mine.csv", "--reference", "uniform", "--format", "pdf", "-o", "mine.csv"],
        "mine.csv cannot be written: File exists. Name another with --output.",
    ),
    "a file in the way": (
        ["report", "mine.csv", "--reference", "uniform", "--format", "md", "-o", "mine.csv/deeper"],
        "mine.csv/deeper cannot be written: ",
    ),
    "a sweep that never ran": (["report", "quickstart"], "no trial of quickstart has started in"),
    "an unknown method": (["compare", "x", "uniform", "mine.csv"], "no method 'x' in mine; expected one of: uniform"),
    "an unknown second method": (
        ["compare", "uniform", "x", "mine.csv"],
        "no method 'x' in mine; expected one of: uniform",
    ),
    "itself": (["compare", "uniform", "uniform", "mine.csv"], "compare was given 'uniform' twice; expected two"),
    "a file where the joined table belongs": (
        ["merge", "mine.csv", "./mine.csv", "-o", "mine.csv"],
        "mine.csv cannot be written: File exists. Name another with --output.",
    ),
    "one table": (["merge", "mine.csv", "-o", "out"], "merge was given one table; expected two or more."),
}


@pytest.mark.parametrize(("words", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_line_and_exit_2(at, capsys, words, message):
    code, told = say(capsys, *words)
    assert code == 2
    assert message in told
    assert told.startswith("zoombench: ")
    assert told.count("\n") == 1


def test_two_methods_are_compared_seed_by_seed(at, capsys):
    code, told = say(capsys, "compare", "saliency_sampler", "spatial_transformer", "mine.csv")
    assert code == 0
    assert told.startswith("saliency_sampler against spatial_transformer, positive is better; mine\nm = 1: ")
    assert "saliency_sampler is better by 81.89 points, 95% interval [+79.78, +84.00]" in told
    assert "n = 5 paired seeds; Holm p < .001, m = 1" in told
    values = {
        (row["method"], row["seed"]): float(row["value"]) for row in csv.DictReader(io.StringIO(QUICKSTART.read_text()))
    }
    difference = 100 * (values["saliency_sampler", "5"] - values["spatial_transformer", "5"])
    assert f"by seed: 5: +{difference:.2f} points; 6: " in told


@pytest.fixture
def checkpoints(at, finished):
    """A sweep of one seed whose two methods answered the same 40 examples."""

    def make(scores):
        path = finished(seeds=[3])
        ledger = Ledger.open(at / "results")
        for trial in spec.load(str(path)).runnable:
            answers = scores[trial.method.label]
            frame = pd.DataFrame({"example": range(len(answers)), "score": [float(one) for one in answers]})
            frame.to_parquet(ledger.folder(trial.id) / "predictions.parquet")
            score = {"split": "test", "epoch": 2, "metric": "accuracy", "value": frame["score"].mean()}
            (ledger.folder(trial.id) / "metrics.jsonl").write_text(pd.Series(score).to_json() + "\n")
        return path

    return make


def test_two_single_checkpoints_are_compared_by_mcnemar_and_the_scope_is_said(checkpoints, capsys):
    path = checkpoints({"tiny": [1] * 20 + [0] * 20, "wide": [1] * 17 + [0] * 3 + [1] * 12 + [0] * 8})
    code, told = say(capsys, "compare", "wide", "tiny", path)
    p = 2 * stats.binom.cdf(3, 15, 0.5) - stats.binom.pmf(3, 15, 0.5)
    assert code == 0
    assert "these two checkpoints, not these two methods: +22.50 points on 40 test examples; " in told
    assert f"wide on 12, tiny on 3 (McNemar's mid-p, p = {f'{p:.3f}'.lstrip('0')}; new test examples" in told


def test_scores_that_are_not_right_or_wrong_are_compared_by_signs(checkpoints, capsys):
    path = checkpoints({"tiny": [0.5, 0.25] * 10, "wide": [0.75, 0.5] * 10})
    _, told = say(capsys, "compare", "wide", "tiny", path)
    assert "+25.00 points on 20 test examples (sign-flip, p < .001; new test examples" in told


def test_checkpoints_of_other_examples_are_refused(checkpoints, capsys):
    path = checkpoints({"tiny": [1, 0], "wide": [1, 0, 1]})
    code, told = say(capsys, "compare", "wide", "tiny", path)
    assert code == 2
    assert "found 3 examples of wide and other 2 of tiny on" in told


def test_several_seeds_or_no_predictions_are_no_single_checkpoints(finished, capsys):
    for seeds in ([3], 3):
        _, told = say(capsys, "compare", "wide", "tiny", finished(seeds=seeds))
        assert "two checkpoints" not in told


@pytest.mark.parametrize("name", ["", "results.csv", "results.parquet"])
def test_a_sweeps_own_table_is_titled_by_the_sweep(at, finished, capsys, name):
    say(capsys, "report", finished("mine_too"))
    folder = at / "results" / "sweeps" / "mine_too"
    _, told = say(capsys, "report", folder / name, "--reference", "tiny", "--format", "md")
    assert told.startswith("# mine_too\n")


def test_an_upper_bound_can_be_compared_where_it_is_asked_for(at, capsys):
    code, told = say(capsys, "compare", "oracle_crop", "saliency_sampler", "mine.csv")
    assert code == 0
    assert "oracle_crop is better by 3.85 points" in told


def test_a_sweep_is_reported_in_its_folder_and_in_its_order(at, finished, capsys):
    path = finished(
        methods={"wide": {"method": "tiny", "width": 8}, "tiny": {}, "late": {"method": "tiny", "width": 2}}
    )
    code, told = say(capsys, "report", path)
    folder = at / "results" / "sweeps" / "small"
    assert (code, told) == (0, f"report: {folder / 'report.html'}\n")
    page = (folder / "report.html").read_text()
    assert "wide is better by 20.10 points" in page
    order = page[page.index('data-methods="') :][:80]
    assert order.index("tiny") < order.index("wide") < order.index("late")


def test_what_a_sweep_did_not_declare_is_said_and_written_elsewhere(at, finished, capsys):
    path = finished()
    say(capsys, "report", path)
    declared = (at / "results" / "sweeps" / "small" / "report.html").read_bytes()
    code, told = say(capsys, "report", path, "--reference", "wide", "--margin", "accuracy=0.05")
    assert (code, told) == (0, f"report: {at / 'report' / 'report.html'}\n")
    page = (at / "report" / "report.html").read_text()
    assert "The reference wide was chosen for this report; the sweep declares tiny." in page
    assert "A margin was chosen for this report and not declared in the sweep" in page
    say(capsys, "report", path, "--alpha", "0.01")
    page = (at / "report" / "report.html").read_text()
    assert "alpha = 0.01 was chosen for this report; the sweep&#39;s is 0.05." in page
    assert "--alpha 0.01" in page
    assert (at / "results" / "sweeps" / "small" / "report.html").read_bytes() == declared


def test_several_sweeps_and_tables_are_one_report(at, finished, capsys):
    one = finished("one")
    two = finished("two", seeds=[0, 1, 2, 3], methods={"tiny": {}, "other": {"method": "tiny", "width": 2}})
    code, told = say(capsys, "report", one, two, "--format", "csv")
    assert code == 0
    rows = {row["method"]: row for row in csv.DictReader(io.StringIO(told))}
    assert {name: row["n"] for name, row in rows.items()} == {"tiny": "4", "wide": "3", "other": "4"}
    code, told = say(capsys, "report", one, "mine.csv", "--reference", "tiny", "--format", "md")
    assert code == 0
    assert told.startswith("# one + mine\n")


def test_results_of_two_machines_are_merged(at, capsys):
    rows = QUICKSTART.read_text().splitlines(keepends=True)
    Path("a.csv").write_text("".join(rows[:12]))
    Path("b.csv").write_text(rows[0] + "".join(rows[8:]))
    code, told = say(capsys, "merge", "a.csv", "b.csv", "-o", "joined")
    assert code == 0
    assert told == f"20 rows of 24, the others agreed; written to {at / 'joined'}\n"
    _, merged = say(capsys, "report", "joined", "--reference", "uniform", "--format", "csv")
    _, whole = say(capsys, "report", "mine.csv", "--reference", "uniform", "--format", "csv")
    assert sorted(merged.splitlines()) == sorted(whole.splitlines())


def test_a_conflict_is_listed_and_nothing_is_written(at, capsys):
    value = QUICKSTART.read_text().splitlines()[1].split(",")[5]
    Path("other.csv").write_text(QUICKSTART.read_text().replace(f",{value},", ",0.999,", 1))
    code, told = say(capsys, "merge", "mine.csv", "other.csv", "-o", "joined")
    assert code == 2
    assert (
        f"conflict: uniform on cluttered_digits, 16px, seed 5, accuracy: value is {value} in mine.csv, 0.999 in" in told
    )
    assert "1 conflict between the tables, listed above; nothing was written" in told
    assert not Path("joined").exists()


def test_none_of_these_commands_loads_torch_ray_or_mlflow(at):
    code = (
        "import sys; from zoombench.harness import cli; cli.main(sys.argv[1:])\n"
        "heavy = {'torch', 'ray', 'mlflow'} & set(sys.modules); assert not heavy, heavy"
    )
    for words in (["report", "mine.csv", "--reference", "uniform"], ["compare", "uniform", "oracle_crop", "mine.csv"]):
        subprocess.run([sys.executable, "-c", code, *words], check=True, capture_output=True)


def test_unpaired_seeds_are_compared_by_welchs_t(at, capsys):
    code, told = say(capsys, "report", "mine.csv", "--reference", "uniform", "--unpaired")
    page = (at / "report" / "report.html").read_text()
    assert code == 0
    assert "5 and 5 seeds, not paired, Welch&#39;s t; Holm p" in page
    assert "zoombench report mine.csv --reference uniform --unpaired" in page
    _, told = say(capsys, "report", "mine.csv", "--reference", "uniform", "--unpaired", "--format", "csv")
    row = {row["method"]: row for row in csv.DictReader(io.StringIO(told))}["saliency_sampler"]
    rows = list(csv.DictReader(io.StringIO(QUICKSTART.read_text())))
    a, b = ([float(one["value"]) for one in rows if one["method"] == name] for name in ("saliency_sampler", "uniform"))
    assert (row["test"], row["pairs"]) == ("Welch's t", "")
    assert float(row["p"]) == pytest.approx(stats.ttest_ind(a, b, equal_var=False).pvalue, rel=1e-6)
    code, told = say(capsys, "compare", "saliency_sampler", "uniform", "mine.csv", "--unpaired")
    assert code == 0
    assert "5 and 5 seeds, not paired" in told
    assert "Welch's t p < .001" in told
    assert "by seed" not in told


def test_a_sweep_whose_seeds_are_taken_as_unpaired_is_reported_elsewhere_and_says_so(at, finished, capsys):
    code, told = say(capsys, "report", finished(), "--unpaired")
    assert (code, told) == (0, f"report: {at / 'report' / 'report.html'}\n")
    page = (at / "report" / "report.html").read_text()
    assert "Welch&#39;s t was chosen for this report; the sweep&#39;s seeds are paired." in page


def test_a_margin_that_is_all_of_the_scale_is_refused(tmp_path, capsys):
    table = Path(__file__).parents[1] / "reports" / "quickstart.csv"
    code, told = say(capsys, "report", str(table), "--reference", "uniform", "--margin", "accuracy=5")
    assert code == 2
    assert "--margin accuracy=5 is all of the scale: one point of accuracy is 0.01." in told


def test_figures_for_a_paper_go_into_a_folder_beside_the_page(at, finished, capsys):
    folder = at / "results" / "sweeps" / "small" / "figures"
    code, told = say(capsys, "report", finished(), "--format", "svg")
    assert (code, told) == (0, f"figures: {folder / 'figures.tex'}\n")
    assert sorted(path.name for path in folder.iterdir()) == ["differences.svg", "figures.tex", "train-seconds.svg"]
    code, told = say(capsys, "report", "mine.csv", "--reference", "uniform", "--format", "png", "-o", "mine")
    assert (code, told) == (0, f"figures: {at / 'mine' / 'figures.tex'}\n")
    assert (at / "mine" / "gflops.png").read_bytes().startswith(b"\x89PNG")


def test_figures_that_cannot_be_drawn_are_said(at, capsys):
    rows = ["method,dataset,seed,metric,value,higher_is_better", "old,cars,0,accuracy,0.5,true"]
    (at / "one.csv").write_text("\n".join(rows) + "\n")
    code, told = say(capsys, "report", "one.csv", "--reference", "old", "--format", "pdf")
    assert code == 0
    assert told == (
        "not drawn: score against cost: no method has both a score and a finite cost above zero\n"
        "not drawn: differences from old on cars, default: no method finished beside it\n"
        f"figures: {at / 'report' / 'figures' / 'figures.tex'}\n"
    )
