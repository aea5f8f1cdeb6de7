"""What a method is given of an image: bytes if it says so and the image is large, else floats."""

import pytest
import torch

from zoombench.baselines.uniform import Uniform
from zoombench.harness import spec, trial
from zoombench.harness.contract import Method, Zoom, given
from zoombench.harness.pictures import write


class Reader(Method):
    takes_bytes = True


LARGE = torch.randint(0, 256, (2, 3, 200, 400), dtype=torch.uint8)


def test_a_large_image_stays_bytes_for_a_method_that_takes_them():
    assert given(Reader(), {"image": LARGE})["image"] is LARGE


@pytest.mark.parametrize(
    ("method", "image"), [(Method(), LARGE), (Reader(), LARGE[..., :256, :256].contiguous())], ids=["says", "small"]
)
def test_others_are_given_floats(method, image):
    floats = given(method, {"image": image})["image"]
    assert torch.equal(floats, image.float() / 255)


@pytest.mark.parametrize(("canvas", "dtype"), [(288, torch.uint8), (128, torch.float32)])
def test_a_trial_trains_and_judges_on_large_images_as_bytes(canvas, dtype, sweep_file, tmp_path, monkeypatch):
    seen = set()
    forward = Uniform.forward

    def spy(self, image, target=None):
        seen.add((image.dtype, target is not None))
        return forward(self, image, target)

    monkeypatch.setattr(Uniform, "forward", spy)
    monkeypatch.setattr("zoombench.harness.trial.cost.measure", None)  # counts operations on floats
    counts = {"train_examples": 4, "validation_examples": 1, "test_examples": 2}
    file = sweep_file(
        methods={"uniform": {}},
        datasets={"cluttered_digits": {"canvas": canvas} | counts},
        budgets={"b": {"image_size": 16, "epochs": 1, "batch": 2}},
    )
    list(trial.run(spec.load(file).trials[0], tmp_path / "t"))
    assert seen == {(dtype, True), (dtype, False)}
    assert len(list((tmp_path / "t" / "looks").glob("*-image.png"))) == 2


def test_what_is_no_image_stays_as_it_is():
    for one in (torch.rand(2, 1, 4), torch.arange(2)):
        assert given(Method(), {"one": one})["one"] is one
        assert given(Reader(), {"one": one})["one"] is one


def test_pictures_of_bytes_are_those_of_their_floats(tmp_path):
    zoom = Zoom(torch.rand(2, 3, 8, 8), torch.zeros(2, 8, 8, 2))
    for name, image in (("bytes", LARGE), ("floats", LARGE / 255)):
        write(image, (zoom,), tmp_path / name, count=1)
    assert (tmp_path / "bytes/0-image.png").read_bytes() == (tmp_path / "floats/0-image.png").read_bytes()
