"""GazeCapture: where on the screen of a phone or tablet its holder looks, in centimetres from the camera.

Krafka et al. 2016, "Eye Tracking for Everyone". `image` is the whole frame, as Recasens et al. 2018 use it; `face`,
`eye_left`, `eye_right` and `face_grid` are iTracker's. Split by subject, as each recording's info.json says (the
authors' PyTorch port puts subjects that it does not know into validation, and picks its checkpoint on the test split).
Used are the frames in which the device found face and both eyes: 1,490,959 from 1,471 recordings. They show faces:
personal data.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float32, Int64, Shaped
from torch import Tensor
from torch.utils.data import Dataset

from ..harness.errors import DataError
from ..harness.tasks import Gaze
from .reading.folders import absent, digest, found
from .reading.images import cut
from .reading.pictures import read_picture
from .reading.records import Record
from .reading.splits import check_split
from .reading.views import place

INPUTS = ("image", "face", "eye_left", "eye_right", "face_grid")
FOLDER = "GazeCapture"
SOURCE = (
    "https://gazecapture.csail.mit.edu: on registration by e-mail, one archive a recording, unpacked to "
    "GazeCapture/00002/ and so on; for research only, no copies and no commercial use, models trained on it included"
)
FILES = ("*/info.json",)
BOXED = ("appleFace", "appleLeftEye", "appleRightEye", "faceGrid")
RECORDING = "[0-9][0-9][0-9][0-9][0-9]"
TERMS = {
    "access": "gated",
    "homepage": "https://gazecapture.csail.mit.edu",
    "terms": "On registration, for research only: no copies, no commercial use, that of trained models and features "
    "included; to be cited. The frames show faces, which are personal data.",
    "citation": "Krafka et al. 2016, Eye Tracking for Everyone, CVPR",
}
SHAREABLE = False
EXPECTED = {"train": 1251983, "validation": 59480, "test": 179496}
"""Frames of 1,271, 50 and 150 subjects in the paper; the sum is that of the usable frames."""
TREE = """GazeCapture/00002/
  info.json  frames.json  dotInfo.json  faceGrid.json  appleFace.json  appleLeftEye.json  appleRightEye.json
  frames/00000.jpg ..."""
SCREEN = (-27.3, -27.3, 27.3, 27.3)
"""Centimetres: the smallest square around the camera, to the millimetre, that holds the screens of all 15 devices in
the authors' apple_device_data.csv, however held. The iPad Pro decides: it ends 10.69 + 262.15 mm from its camera."""
GRID = 25  # cells a side
NAMES = {"train": "train", "validation": "val", "test": "test"}  # ours to info.json's

Example = tuple[dict[str, Tensor], Tensor]


@dataclass(frozen=True)
class Config:
    """Sizes, and how the answer is held."""

    frame: int = 640  # px; frames are 480 x 640 or 640 x 480, centred in a square on black so that they form batches
    crop: int = 224  # px, of face and eyes; iTracker
    answer: Literal["linear", "sigmoid"] = "linear"  # iTracker's; Recasens et al. use a sigmoid, here over SCREEN

    def __post_init__(self) -> None:
        """Raise ValueError for a size of nothing."""
        for name in ("frame", "crop"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)} px: it must be at least 1")


def task(config: Config) -> Gaze:
    """The point on the screen, in centimetres from the camera."""
    return Gaze(screen=SCREEN if config.answer == "sigmoid" else None)


def missing(config: Config, root: str | None) -> str | None:
    """Whether root/GazeCapture holds recordings, and where they are to be had; None if there are some."""
    return absent(root, FOLDER, FILES, SOURCE)


def fingerprint(config: Config, root: str | None) -> str:
    """A hash of every recording's json files that are read here: splits, targets, boxes, which frames are valid.

    Of all 1,471 recordings that takes 1.3 s (measured on 200 made alike, warm, a local disk).
    """
    folder = found("gazecapture", root, FOLDER, FILES, SOURCE)
    tables = (one for name in ("info", "frames", "dotInfo", *BOXED) for one in folder.glob(f"{RECORDING}/{name}.json"))
    return digest(folder, files=[one.relative_to(folder).as_posix() for one in tables])


def index(config: Config, root: str | None) -> Iterator[Record]:
    """Every usable frame, without boxes: those of a face may well leave the frame.

    Raises DataError where the set is not there or contradicts itself.
    """
    folder = found("gazecapture", root, FOLDER, FILES, SOURCE)
    for recording, (split, device) in _recordings(folder).items():
        for path in _usable(recording, device).path.tolist():
            yield Record(split, f"{FOLDER}/{path}", key=path.removesuffix(".jpg"))


def build(config: Config, root: str | None, split: str, image_size: int) -> "GazeCapture":
    """The usable frames of a split's subjects, at the sizes of config: image_size is not needed.

    Raises ValueError for an unknown split and DataError where the set is not there or contradicts itself.
    """
    check_split(split, dataset="gazecapture")
    folder = found("gazecapture", root, FOLDER, FILES, SOURCE)
    usable = [_usable(one, device) for one, (whose, device) in _recordings(folder).items() if whose == split]
    frames = Frames(*(np.concatenate(column) for column in zip(*usable, strict=True))) if usable else None
    if frames is None or len(frames.path) == 0:
        raise DataError(f"{folder} has no usable frame of the {split} split. Is it unpacked whole?")
    if config.answer == "sigmoid" and split == "train":
        _refuse_targets_off_the_screen(frames)
    return GazeCapture(config, frames, folder, split)


class Frames(NamedTuple):
    """The usable frames of some recordings; boxes are x, y, width, height in whole pixels of the frame."""

    path: Shaped[np.ndarray, " frames"]
    device: Shaped[np.ndarray, " frames"]
    face: Int64[np.ndarray, "frames 4"]
    eye_left: Int64[np.ndarray, "frames 4"]
    eye_right: Int64[np.ndarray, "frames 4"]
    grid: Int64[np.ndarray, "frames 4"]
    """In cells of the face grid, the first of which is 1."""
    target: Float32[np.ndarray, "frames 2"]


class GazeCapture(Dataset[Example]):
    """Examples ({"image": uint8 (3, frame, frame), face and eyes: uint8 (3, crop, crop), "face_grid"}, (x, y) in cm).

    face_grid is float32 (25, 25): 1 where the face is in the frame. The left eye is the subject's own, which is on the
    right of the frame. Crops are zero where they leave the frame, as in the authors' PyTorch code (their Matlab code
    repeats the edge). `facts` tells for each example the class of device and the recording, for scores of each.
    """

    def __init__(self, config: Config, frames: Frames, folder: Path, split: str) -> None:
        self.config = config
        self.frames = frames
        self.folder = folder
        self.split = split

    @property
    def facts(self) -> dict[str, list[str]]:
        """What is known of each example, kept beside its prediction."""
        recordings = [str(path).split("/")[0] for path in self.frames.path]
        return {"device": self.frames.device.tolist(), "recording": recordings}

    def __len__(self) -> int:
        return len(self.frames.path)

    def __getitem__(self, index: int) -> Example:
        if not 0 <= index < len(self):
            raise IndexError(f"example {index} of {len(self)} in the {self.split} split")
        frames, config = self.frames, self.config
        # The boxes are of the frame as it is stored.
        frame = read_picture(self.folder.parent, f"{FOLDER}/{frames.path[index]}", index=index, orient=False)
        height, width = frame.shape[:2]
        side = float(max(height, width))
        whole = place(width, height, wide=side, tall=side)
        tensors = {"image": cut(frame, whole, config.frame), "face_grid": _mask(frames.grid[index])}
        for name in ("face", "eye_left", "eye_right"):
            x, y, wide, tall = getattr(frames, name)[index].astype(float).tolist()
            tensors[name] = cut(frame, (x, y, x + wide, y + tall), config.crop)
        return tensors, torch.from_numpy(frames.target[index].copy())


def _mask(cells: Int64[np.ndarray, "4"]) -> Float32[Tensor, "25 25"]:
    x, y, width, height = cells.tolist()
    mask = torch.zeros(GRID, GRID)
    mask[max(y - 1, 0) : max(y - 1 + height, 0), max(x - 1, 0) : max(x - 1 + width, 0)] = 1
    return mask


def _recordings(folder: Path) -> dict[Path, tuple[str, str]]:
    return {one: _read_info(one) for one in sorted(folder.glob(RECORDING))}


def _read_info(recording: Path) -> tuple[str, str]:
    """The split and the class of device of a recording."""
    info = _read(recording / "info.json", ("Dataset", "DeviceName"))
    device = str(info["DeviceName"])
    kinds = [kind for kind in ("iphone", "ipad") if device.lower().startswith(kind)]
    if info["Dataset"] not in NAMES.values() or not kinds:
        raise DataError(
            f"{recording / 'info.json'}: Dataset is {info['Dataset']!r} and DeviceName {device!r}, expected "
            f"{', '.join(NAMES.values())} and an iPhone or iPad."
        )
    return {theirs: ours for ours, theirs in NAMES.items()}[info["Dataset"]], kinds[0]


def _usable(recording: Path, device: str) -> Frames:
    """The frames of a recording in which face, both eyes and face grid are valid; there may be none."""
    boxed = {name: _read(recording / f"{name}.json", ("X", "Y", "W", "H", "IsValid")) for name in BOXED}
    dots = _read(recording / "dotInfo.json", ("XCam", "YCam"))
    names = _read(recording / "frames.json", ())
    lengths = {len(column) for table in (*boxed.values(), dots) for column in table.values()} | {len(names)}
    if len(lengths) > 1:
        raise DataError(f"{recording}: its json files tell of {sorted(lengths)} frames, expected one number.")
    boxes = {name: np.stack([table[key] for key in "XYWH"], axis=1).astype(np.int64) for name, table in boxed.items()}
    # The authors' prepareDataset.py: whole pixels, a pixel more around the face, eyes relative to that face.
    face = boxes["appleFace"] + [-1, -1, 1, 1]
    corner = np.concatenate((face[:, :2], np.zeros_like(face[:, :2])), axis=1)
    left, right = (boxes[name] + [0, -1, 0, 0] + corner for name in ("appleLeftEye", "appleRightEye"))
    valid = np.all([np.asarray(table["IsValid"]) == 1 for table in boxed.values()], axis=0)
    for name, columns in (("appleFace", face), ("appleLeftEye", left), ("appleRightEye", right)):
        if (columns[valid, 2:] < 1).any():
            raise DataError(f"{recording / name}.json: a frame that is valid has a box without area.")
    paths = [f"{recording.name}/frames/{name}" for name in names]
    return Frames(
        path=np.array(paths, dtype=np.str_)[valid],
        device=np.full(int(valid.sum()), device),
        face=face[valid],
        eye_left=left[valid],
        eye_right=right[valid],
        grid=boxes["faceGrid"][valid],
        target=np.stack([dots["XCam"], dots["YCam"]], axis=1).astype(np.float32)[valid],
    )


def _refuse_targets_off_the_screen(frames: Frames) -> None:
    x0, y0, x1, y1 = SCREEN
    x, y = frames.target.T
    off = np.flatnonzero((x < x0) | (x > x1) | (y < y0) | (y > y1))
    if len(off):
        raise DataError(
            f"{frames.path[off[0]]}: its target {tuple(frames.target[off[0]].tolist())} cm lies outside {SCREEN}, "
            f"where a sigmoid does not reach ({len(off)} of {len(x)} frames do). Set answer: linear."
        )


def _read(path: Path, keys: Sequence[str]) -> Any:
    """A json file that holds these keys."""
    try:
        content = json.loads(path.read_bytes())
        absent = [key for key in keys if key not in content]
        if absent:
            raise ValueError(f"no {', '.join(absent)} in it")
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not readable: {error}. Unpack this recording again.") from error
    return content
