"""What a method is given of an image: bytes if it says so and the image is large, else floats."""

import pytest
import torch

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


def test_what_is_no_image_stays_as_it_is():
    boxes = torch.rand(2, 1, 4)
    assert given(Method(), {"boxes": boxes})["boxes"] is boxes


def test_pictures_of_bytes_are_those_of_their_floats(tmp_path):
    zoom = Zoom(torch.rand(2, 3, 8, 8), torch.zeros(2, 8, 8, 2))
    for name, image in (("bytes", LARGE), ("floats", LARGE / 255)):
        write(image, (zoom,), tmp_path / name, count=1)
    assert (tmp_path / "bytes/0-image.png").read_bytes() == (tmp_path / "floats/0-image.png").read_bytes()
