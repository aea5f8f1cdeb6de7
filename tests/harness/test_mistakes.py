"""Each kind of mistake gives one clear line and exit 2, before anything starts."""

import pytest

from zoombench.harness import cli

BUDGET = {"image_size": 16, "epochs": 2, "batch": 16}

MISTAKES = {
    "unknown method": (
        {"methods": {"saliency_sampelr": {}}},
        r"small.yaml:2: methods.saliency_sampelr: no baselines/saliency_sampelr.py here or in",
    ),
    "unknown dataset": (
        {"datasets": {"corner": {}}},
        r"small.yaml:4: datasets.corner: no datasets/corner.py here or in",
    ),
    "misspelt key": ({"bugdets": {}}, "small.yaml:11: bugdets: unknown key 'bugdets'. Did you mean budgets?"),
    "misspelt key of a method": (
        {"methods": {"tiny": {"widht": 3}}},
        "small.yaml:3: methods.tiny.widht: unknown key 'widht'. Did you mean width?",
    ),
    "misspelt key of a budget": (
        {"budgets": {"b": BUDGET | {"ephocs": 2}}},
        "small.yaml:10: budgets.b.ephocs: unknown key 'ephocs'. Did you mean epochs?",
    ),
    "wrong type": (
        {"methods": {"tiny": {"width": "wide"}}},
        "methods.tiny.width: expected a valid integer, found 'wide'.",
    ),
    "wrong type in a budget": (
        {"budgets": {"b": BUDGET | {"epochs": "ten"}}},
        "budgets.b.epochs: expected a valid integer, found 'ten'.",
    ),
    "none of several types": (
        {"methods": {"saliency_sampler": {"sigma": "papper"}}},
        "methods.saliency_sampler.sigma: expected 'code' or 'paper' or a valid number, found 'papper'.",
    ),
    "a setting the method refuses": (
        {"methods": {"tiny": {"width": 0}}},
        "small.yaml:2: methods.tiny: width is 0: a network needs at least one channel",
    ),
    "an image too small for the task network": (
        {"budgets": {"b": BUDGET | {"task_network": "inception_v3"}}},
        "budgets.b.task_network: an image_size of 16 is too small, it needs at least 299, found 'inception_v3'.",
    ),
    "a task network that there is not": (
        {"budgets": {"b": BUDGET | {"task_network": "resnet34"}}},
        "budgets.b.task_network: expected 'small', 'alexnet', 'resnet18', 'resnet50', 'resnet101' or 'inception_v3', "
        "found 'resnet34'.",
    ),
    "weights that there are not": (
        {"budgets": {"b": BUDGET | {"task_network": "resnet18", "task_weights": "DEFAULT"}}},
        "budgets.b.task_weights: resnet18 has no such weights: expected torchvision's IMAGENET1K_V1, or the path of a "
        "checkpoint (.pt, .pth), found 'DEFAULT'.",
    ),
    "torchvision's weights of our own network": (
        {"budgets": {"b": BUDGET | {"task_weights": "IMAGENET1K_V1"}}},
        "small has no such weights: expected the path of a checkpoint (.pt, .pth), found 'IMAGENET1K_V1'.",
    ),
    "no seeds": ({"seeds": 0}, "small.yaml:10: seeds: a sweep needs at least one seed"),
    "a seed twice": ({"seeds": [1, 1]}, "small.yaml:10: seeds: a seed is listed twice"),
    "no methods": ({"methods": {}}, "small.yaml:1: methods: it is empty, and at least one entry is needed."),
    "methods as a list": ({"methods": ["tiny"]}, "expected a mapping of labels to settings, found ['tiny']."),
    "a misspelt key that is needed": (
        {"budgets": None, "budget": {"b": BUDGET}},
        "small.yaml:6: budget: unknown key 'budget'. Did you mean budgets?",
    ),
    "a number in quotes": (
        {"training": {"learning_rate": "0.001"}},
        "training.learning_rate: expected a valid number, found '0.001'. Leave the quotes out.",
    ),
    "a margin of no metric": (
        {"margins": {"acuracy": 0.01}},
        "margins.acuracy: no dataset here is judged by 'acuracy'. Did you mean accuracy?",
    ),
    "a margin below zero": (
        {"margins": {"accuracy": -0.01}},
        "margins.accuracy: expected greater than 0, found -0.01.",
    ),
    "a margin in points": ({"margins": {"accuracy": 1.0}}, "1 is all of the scale: one point of accuracy is 0.01."),
    "one GPU and a half": (
        {"budgets": {"b": BUDGET | {"gpus": 1.5}}},
        "budgets.b.gpus: gpus is a whole number, or a fraction of one, found 1.5.",
    ),
    "a seed past counting": ({"seeds": [2**63]}, "seeds are counted from 0, and stay below 2**53"),
    "a missing section": ({"datasets": None}, "key 'datasets' is missing"),
    "unknown reference": ({"reference": "tin"}, "no method labelled 'tin' in this file. Did you mean tiny?"),
    "a GPU where there is none": ({"budgets": {"b": BUDGET | {"gpus": 1}}}, "this machine has none"),
    "more CPUs than there are": ({"budgets": {"b": BUDGET | {"cpus": 4096}}}, "cpus: 4096, and this machine has"),
    "a name that leaves the folder": ({"name": "../../etc"}, "name: expected letters, digits, '.', '_' and '-'"),
    "a label with a slash": ({"methods": {"../x": {"method": "tiny"}}}, "without a slash"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_the_sweep_file_is_one_clear_line(mistake, sweep_file, tmp_path, capsys, monkeypatch):
    keys, message = MISTAKES[mistake]
    if mistake == "a GPU where there is none":
        monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    code = cli.main(["run", str(sweep_file(**keys)), "--results", str(tmp_path / "results")])
    said = capsys.readouterr()
    assert code == 2
    assert message in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""
    assert not list((tmp_path / "results" / "trials").glob("*")), "something has started"


def test_a_results_folder_that_cannot_be_written_is_one_clear_line(sweep_file, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert cli.main(["run", str(sweep_file()), "--results", str(tmp_path / "file" / "results")]) == 2
    said = capsys.readouterr().err
    assert "cannot be written" in said
    assert "--results" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("methods: [", "not YAML"),
        ("- a\n- b\n", "expected a mapping"),
        ("methods:\n  tiny:\n  tiny: {width: 3}\n", ":3: methods.tiny is given twice, first on line 2"),
        ("&a [*a]", "an anchor contains itself"),
        ("seeds: !!python/object/apply:os.system ['true']\n", "not YAML"),
    ],
    ids=["no yaml", "a list", "a key twice", "an endless anchor", "code in a tag"],
)
def test_a_file_that_is_no_sweep_file_is_one_clear_line(text, message, tmp_path, capsys):
    (tmp_path / "bad.yaml").write_text(text)
    assert cli.main(["plan", str(tmp_path / "bad.yaml")]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_a_sweep_that_is_not_there_names_those_that_are(capsys):
    assert cli.main(["plan", "quikstart"]) == 2
    assert "Did you mean quickstart?" in capsys.readouterr().err
