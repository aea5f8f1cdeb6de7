"""Synthetic gaze: a drawn face somewhere in a grey frame, whose pupils say which point of a screen it looks at.

In the form of GazeCapture (Krafka et al. 2016): whole frames, crops of the face and of both eyes, a face grid, and
targets in centimetres from the camera. Nothing is downloaded.

The rule. Both pupils stand at one place of their eyes: from -1 to 1 of a pupil's play to the right in the frame, and
from -1 to 1 downwards. They look at x = -10 right and y = -7.5 (1 + down) cm: the camera is at the middle of the upper
edge of a screen of 20 x 15 cm, x grows to the right of who faces the screen, which is left in the frame, and y upwards.
Place and size of the head, light and shades are drawn without regard to the target and say nothing of it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float32, UInt8
from PIL import Image
from torch import Tensor

from ..harness.batches import collate
from ..harness.tasks import Gaze
from .reading.drawing import Drawn, channels
from .reading.settings import check_settings

INPUTS = ("image", "boxes", "face", "eye_left", "eye_right", "face_grid")
TERMS = {
    "access": "embedded",
    "homepage": "",
    "terms": "None of its own: every face is drawn by the code.",
    "citation": "zoombench, after the form of GazeCapture (Krafka et al. 2016, Eye Tracking for Everyone)",
}
SCREEN = (-10.0, -15.0, 10.0, 0.0)  # x0, y0, x1, y1 in cm
CELLS = 25  # a side of the face grid, as in GazeCapture
FINE = 64  # lengths are whole 1/64 px
WHOLE = 1 << 14  # a pupil's place is a whole number of 1/16384 of its play

Example = tuple[dict[str, Tensor], Tensor]
Box = tuple[float, float, float, float]
Shades = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Config:
    """How small the eyes are in the frame.

    What uniform resizing to a task network of t pixels leaves of an eye is r = eye * t / canvas pixels: at r = 2.25,
    the default with t = 24, a uniform view errs by about 2.0 cm, the sampler by 0.6, a perfect crop of the eyes by 0.2,
    and who always says the middle by 6.8.
    """

    canvas: int = 128  # px, side of the frame
    eye: int = 12  # px, width of an eye in a head of middle size; heads are up to 15% smaller or larger
    noise: int = 8  # grey levels by which a pixel is off, at most
    face_crop: int = 64  # px, side of the crop of the face, which has about 6 eyes across in the frame
    eye_crop: int = 32  # px, side of the crop of an eye, which has about 1.25 eyes across in the frame
    train_examples: int = 4096  # an epoch; the next epoch draws new ones
    validation_examples: int = 512
    test_examples: int = 2000
    seed: int = 0  # of the examples; not the trial's seed, so every trial sees the same ones

    def __post_init__(self) -> None:
        """Raise ValueError for settings that cannot be drawn."""
        if not 4 <= self.eye <= 1024:
            raise ValueError(f"eye is {self.eye} px: it is drawn from 4 px, for a pupil to be seen, to 1024 px")
        if self.canvas < 7 * self.eye:
            raise ValueError(
                f"a face with eyes of {self.eye} px does not fit a frame of {self.canvas} px: 7 eyes are needed"
            )
        if not 0 <= self.noise <= 127:
            raise ValueError(f"noise is {self.noise}: it lies between 0 and 127 grey levels")
        check_settings(self, "face_crop", "eye_crop", "train_examples", "validation_examples", "test_examples")


def task(config: Config) -> Gaze:
    """Which point of the screen; targets fill it evenly."""
    return Gaze(screen=SCREEN)


def build(config: Config, root: object, split: str, image_size: int) -> "SyntheticGaze":
    """The examples of a split, at the canvas' own resolution: root and image_size are not needed.

    Raises ValueError for an unknown split.
    """
    return SyntheticGaze(config, split)


class Face(NamedTuple):
    """All that is drawn of an example, but for the noise: lengths in 1/64 px, shades and light in 1/256."""

    right: int
    down: int
    eye: int
    x: int
    y: int
    brow_rise: int
    background: int
    skin: int
    white: int
    pupil: int
    brow: int
    mouth: int
    light_right: int
    light_down: int


class SyntheticGaze(Drawn):
    """Examples ({"image", "boxes", "face", "eye_left", "eye_right", "face_grid"}, point in cm (x, y)).

    The image and the crops are uint8 (3, side, side); each one's channels share one memory, so copy it before writing
    to it. Boxes are the eyes, x0, y0, x1, y1 in pixel edges, from left to right: the subject's right eye first, as
    eye_left is the subject's left. The face grid is 1 where the face is in the frame, else 0.
    """

    def __init__(self, config: Config, split: str) -> None:
        super().__init__("synthetic_gaze", config, split)

    def __getitem__(self, index: int) -> Example:
        return self._draw(index, INPUTS)

    def batch(self, indices: Sequence[int], inputs: Sequence[str]) -> Any:
        """These examples with these inputs alone: the three crops take longer than the frame that they are cut from."""
        return collate([self._draw(index, inputs) for index in indices], inputs)

    def _draw(self, index: int, inputs: Sequence[str]) -> Example:
        face, noise = self._plan(index)
        frame = _paint(face, noise)
        side, eye = self.config.canvas, face.eye
        right_eye, left_eye = (_square(face.x + at, face.y, 5 * eye // 8) for at in (-eye, eye))
        around = _square(face.x, face.y, 3 * eye)
        picture = Image.fromarray(frame)
        draw: dict[str, Callable[[], Tensor]] = {
            "image": lambda: channels(frame),
            "boxes": lambda: torch.tensor([right_eye, left_eye]),
            "face": lambda: _crop(picture, around, self.config.face_crop),
            "eye_left": lambda: _crop(picture, left_eye, self.config.eye_crop),
            "eye_right": lambda: _crop(picture, right_eye, self.config.eye_crop),
            "face_grid": lambda: _face_grid(around, side),
        }
        x, y = SCREEN[2] * -face.right / WHOLE, SCREEN[1] / 2 * (1 + face.down / WHOLE)
        return {name: draw[name]() for name in inputs}, torch.tensor([x, y])

    def _plan(self, index: int) -> tuple[Face, Shades]:
        """What is drawn, and the noise over it: the top 32 bits of Philox's words, scaled, and a byte a pixel."""
        side, count = self.config.canvas, len(Face._fields)
        raw = self.words(index, count + -(-side * side // 8))
        words: Iterator[int] = iter((raw[:count] >> np.uint64(32)).tolist())

        def between(low: int, high: int) -> int:
            return low + (next(words) * (high - low + 1) >> 32)

        right, down = between(-WHOLE, WHOLE), between(-WHOLE, WHOLE)
        eye = between(self.config.eye * FINE * 85 // 100, self.config.eye * FINE * 115 // 100)
        near, far = 3 * eye, side * FINE - 3 * eye - 1
        face = Face(
            right,
            down,
            eye,
            x=between(near, far),
            y=between(near, far),
            brow_rise=between(eye * 9 // 16, eye * 13 // 16),
            background=between(30, 110),
            skin=between(120, 190),
            white=between(215, 250),
            pupil=between(5, 45),
            brow=between(30, 100),
            mouth=between(60, 110),
            light_right=between(-40, 40),
            light_down=between(-40, 40),
        )
        levels = (
            raw[count:].astype("<u8", copy=False).view(np.uint8)[: side * side].reshape(side, side).astype(np.int32)
        )
        levels *= 2 * self.config.noise + 1
        levels >>= 8
        levels -= self.config.noise
        return face, levels


def _paint(face: Face, noise: Shades) -> npt.NDArray[np.uint8]:
    """The frame, in whole numbers throughout, so that no platform rounds it otherwise."""
    side, eye, x, y = len(noise), face.eye, face.x, face.y
    right, down = face.right * eye // (4 * WHOLE), face.down * eye * 3 // (16 * WHOLE)
    frame = np.full((side, side), face.background, dtype=np.int32)
    ellipses = [
        Ellipse(face.skin, x, y, 9 * eye // 4, 3 * eye),
        Ellipse(face.mouth, x, y + 7 * eye // 4, 7 * eye // 8, eye // 4),
    ]
    for middle in (x - eye, x + eye):
        ellipses += [
            Ellipse(face.brow, middle, y - face.brow_rise, 9 * eye // 16, eye // 8),
            Ellipse(face.white, middle, y, eye // 2, 13 * eye // 32),
            Ellipse(face.pupil, middle + right, y + down, 3 * eye // 16, 3 * eye // 16),
        ]
    _lay(frame, ellipses)
    at = np.arange(-side, side, 2, dtype=np.int32)
    frame *= (face.light_down * at // side)[:, None] + (face.light_right * at // side + 256)
    frame >>= 8
    frame += noise
    return np.clip(frame, 0, 255, out=frame).astype(np.uint8)


class Ellipse(NamedTuple):
    """Its shade, its middle, and half its width and height in 1/64 px."""

    shade: int
    x: int
    y: int
    across: int
    down: int


def _lay(frame: Shades, ellipses: Sequence[Ellipse]) -> None:
    """Lay ellipses over the frame, one after the other.

    A pixel takes as much of the shade as its middle is inside, counted from half a pixel outside to half a pixel
    inside. For a level of the ellipse's equation, (1 - level) times half the smaller axis is close to that distance.
    """
    side = len(frame)
    # What the equation has of columns alone and of rows alone, for all ellipses at once, as most are a few pixels wide:
    # 1 is 2**13, and times the smaller axis it is 2**12 times a distance in 1/256 px.
    shape = np.array(ellipses, dtype=np.int64).T[..., None]
    smaller = np.minimum(shape[3], shape[4])
    middles = np.arange(side, dtype=np.int64) * FINE + FINE // 2
    dx, dy = middles - shape[1], middles - shape[2]
    in_x = ((dx * dx << 13) // (shape[3] * shape[3]) * smaller).astype(np.int32)
    in_y = (((1 << 13) - (dy * dy << 13) // (shape[4] * shape[4])) * smaller + (128 << 12)).astype(np.int32)
    for (shade, x, y, across, down), row, column in zip(ellipses, in_x, in_y, strict=True):
        rows = slice(max(0, (y - down) // FINE - 1), min(side, (y + down) // FINE + 2))
        columns = slice(max(0, (x - across) // FINE - 1), min(side, (x + across) // FINE + 2))
        cover = column[rows, None] - row[columns]
        cover >>= 12
        np.maximum(cover, 0, out=cover)
        np.minimum(cover, 256, out=cover)
        place = frame[rows, columns]
        cover *= shade - place
        cover >>= 8
        place += cover


def _square(x: int, y: int, half: int) -> Box:
    """A square around a place, from 1/64 px to pixel edges."""
    return (x - half) / FINE, (y - half) / FINE, (x + half) / FINE, (y + half) / FINE


def _crop(frame: Image.Image, box: Box, side: int) -> UInt8[Tensor, "3 side side"]:
    """What a box shows, at a size of its own, by Pillow's integer bilinear filter."""
    return channels(np.array(frame.resize((side, side), Image.Resampling.BILINEAR, box=box)))


def _face_grid(around: Box, side: int) -> Float32[Tensor, "25 25"]:
    """1 where the face is in a frame of so many pixels a side, else 0."""
    x0, y0, x1, y1 = (int(edge * CELLS // side) for edge in around)
    cells = np.zeros((CELLS, CELLS), dtype=np.float32)
    cells[y0 : y1 + 1, x0 : x1 + 1] = 1
    return torch.from_numpy(cells)
