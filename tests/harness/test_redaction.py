"""Pictures of data whose terms forbid to pass them on stay with whoever holds the data."""

from collections.abc import Callable
from pathlib import Path

import pytest

from zoombench.harness import cli, contents, spec, tracking
from zoombench.harness.ledger import Ledger
from zoombench.tests.datasets.marks import write_marks

NOTE = "Pictures of mine are not shown: the terms of these data forbid to pass them on."


@pytest.fixture
def at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    contents._content.cache_clear()
    write_marks(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def finished(at: Path, sweep_file: Callable[..., Path], capsys) -> Callable[..., str]:
    """Run a sweep and give the page that `run` wrote."""

    def run(**datasets: dict[str, str]) -> str:
        budgets = {"b": {"image_size": 16, "epochs": 1, "batch": 4}}
        path = sweep_file(methods={"uniform": {}}, datasets=datasets, budgets=budgets, data={"root": str(at)})
        assert cli.main(["run", str(path), "--serial"]) == 0
        capsys.readouterr()
        assert all(any(folder.iterdir()) for folder in at.glob("results/trials/*/looks"))
        return (at / "results" / "sweeps" / "small" / "report.html").read_text()

    return run


def pictures(page: str, dataset: str) -> int:
    return page.count(f'alt="Image: uniform, {dataset}')


def test_a_report_leaves_them_out_and_says_so_where_they_would_be(finished, at):
    page = finished(mine={"dataset": "marks"}, corners={})
    assert pictures(page, "mine") == 0
    assert pictures(page, "corners") > 0
    looked = page[page.index('id="looked"') : page.index('id="shares"')]
    assert NOTE in looked
    assert "`zoombench report --all-pictures` writes a page with them" in looked


def test_a_report_of_nothing_else_does_not_say_that_none_were_kept(finished):
    page = finished(mine={"dataset": "marks"})
    assert NOTE in page
    assert "No pictures were kept." not in page


def test_a_report_of_other_data_says_nothing_of_it(finished):
    page = finished(corners={})
    assert pictures(page, "corners") > 0
    assert "are not shown" not in page


def test_whoever_asks_gets_them_in_a_page_of_their_own(finished, at, capsys):
    page = finished(mine={"dataset": "marks"}, corners={})
    assert cli.main(["report", "small.yaml", "--all-pictures"]) == 0
    assert capsys.readouterr().out == f"report: {at / 'report' / 'report.html'}\n"
    whole = (at / "report" / "report.html").read_text()
    assert pictures(whole, "mine") > 0
    assert pictures(whole, "corners") == pictures(page, "corners")
    assert "Pictures of mine are shown, and the terms of these data forbid to pass them on: keep this page." in whole
    assert "zoombench report small.yaml --reference uniform --all-pictures" in whole
    assert NOTE not in whole
    assert (at / "results" / "sweeps" / "small" / "report.html").read_text() == page


def test_what_two_sweeps_leave_out_is_said_once(finished, at, capsys):
    finished(mine={"dataset": "marks"})
    (at / "again.yaml").write_text((at / "small.yaml").read_text())
    assert cli.main(["report", "small.yaml", "again.yaml"]) == 0
    page = (at / "report" / "report.html").read_text()
    assert page.count(NOTE) == 1
    assert pictures(page, "mine") == 0


@pytest.mark.slow
def test_mlflow_does_not_receive_them(finished, at):
    import mlflow

    finished(mine={"dataset": "marks"}, corners={})
    sweep, ledger = spec.load("small.yaml"), Ledger(at / "results")
    client = mlflow.MlflowClient(tracking_uri=tracking.tracking_uri(ledger))
    run_ids = tracking.run_ids(sweep.runnable, ledger)
    sent = {
        made.dataset.label: {item.path for item in client.list_artifacts(run_ids[made.id])} for made in sweep.runnable
    }
    assert "looks" in sent["corners"]
    assert "trial.json" in sent["mine"]
    assert "looks" not in sent["mine"]
