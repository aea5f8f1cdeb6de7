"""GazeCapture in its official form: which frames, which boxes, which centimetres."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from zoombench.datasets.gazecapture import SCREEN, Config, build, fingerprint, missing, task
from zoombench.datasets.reading.images import load_rgb
from zoombench.harness.errors import DataError
from zoombench.tests.datasets.official import FRAMES, RECORDINGS, gaze_target, write_gazecapture

SMALL = Config(frame=160, crop=32)
SPLITS = ("train", "validation", "test")


def whose(dataset: Any) -> list[tuple[str, int]]:
    """Recording and frame of each example."""
    return [(path[:5], int(path[-9:-4])) for path in map(str, dataset.frames.path)]


def at(dataset: Any, recording: str, frame: int) -> tuple[dict[str, Tensor], Tensor]:
    example: tuple[dict[str, Tensor], Tensor] = dataset[whose(dataset).index((recording, frame))]
    return example


def test_a_subject_is_in_the_split_that_its_info_says(data_root: str) -> None:
    for split, name in (("train", "train"), ("validation", "val"), ("test", "test")):
        found = {recording for recording, _ in whose(build(SMALL, data_root, split, 16))}
        assert found == {key for key, (of, _) in RECORDINGS.items() if of == name} - {"00012"}


def test_only_frames_with_face_and_both_eyes_are_used(data_root: str) -> None:
    used = whose(build(SMALL, data_root, "train", 16))
    usable = [frame for frame in range(FRAMES) if frame not in (3, FRAMES - 1)]
    assert used == [(recording, frame) for recording in ("00002", "00003") for frame in usable]


@pytest.mark.parametrize("file", ["appleFace", "appleLeftEye", "appleRightEye", "faceGrid"])
def test_a_frame_that_one_file_calls_invalid_is_left_out(file: str, tmp_path: Path) -> None:
    write_gazecapture(tmp_path)
    path = tmp_path / "GazeCapture" / "00002" / f"{file}.json"
    content = json.loads(path.read_text())
    content["IsValid"][5] = 0
    path.write_text(json.dumps(content))
    assert ("00002", 5) not in whose(build(SMALL, str(tmp_path), "train", 16))


@pytest.mark.parametrize(
    ("file", "key", "value"),
    [
        ("info", "Dataset", "test"),
        ("dotInfo", "XCam", [1.0] * FRAMES),
        *((name, "IsValid", [0] * FRAMES) for name in ("appleFace", "appleLeftEye", "appleRightEye", "faceGrid")),
    ],
)
def test_the_fingerprint_knows_splits_targets_and_valid_frames(file: str, key: str, value: Any, tmp_path: Path) -> None:
    write_gazecapture(tmp_path)
    first = fingerprint(SMALL, str(tmp_path))
    path = tmp_path / "GazeCapture" / "00002" / f"{file}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    assert fingerprint(SMALL, str(tmp_path)) != first


@pytest.mark.parametrize("split", SPLITS)
def test_targets_are_the_centimetres_of_their_own_frame(data_root: str, split: str) -> None:
    dataset = build(SMALL, data_root, split, 16)
    for index, (recording, frame) in enumerate(whose(dataset)):
        assert dataset[index][1].tolist() == pytest.approx(gaze_target(recording, frame))


def test_the_class_of_device_and_the_recording_are_kept(data_root: str) -> None:
    dataset = build(SMALL, data_root, "test", 16)
    assert dataset.facts["recording"] == [recording for recording, _ in whose(dataset)]
    pairs = Counter(zip(dataset.facts["recording"], dataset.facts["device"], strict=True))
    assert pairs == {("00010", "ipad"): 8, ("00011", "iphone"): 8}


def inner(crop: Tensor) -> Tensor:
    """Without its border, which the resize and JPEG mix with what lies beyond."""
    return crop[:, 4:-4, 4:-4].int().flatten(1).float().mean(dim=1)


@pytest.mark.parametrize("split", SPLITS)
def test_each_crop_shows_its_part_and_the_left_eye_is_the_subjects_own(data_root: str, split: str) -> None:
    dataset = build(SMALL, data_root, split, 16)
    for index, (_, frame) in enumerate(whose(dataset)):
        tensors = dataset[index][0]
        for name, strongest in (("eye_left", 1), ("eye_right", 2)):
            if frame == 0 and name == "eye_right":  # beyond the frame
                continue
            colour = inner(tensors[name])
            assert colour.argmax() == strongest
            assert colour[strongest] > 200
            assert colour.sort().values[1] < 60
        eye = tensors["face"][1, 11:15, 22:26]  # green, right of the middle
        assert eye.float().mean() > 200


def test_a_crop_is_exactly_its_box(data_root: str) -> None:
    dataset = build(Config(crop=202), data_root, "train", 16)
    stored = load_rgb(dataset.folder / "00002" / "frames" / "00001.jpg", orient=False)
    # appleFace's X, Y, W, H of 124.25, 155.25, 200.25, 200.25: cut to whole pixels, then -1, -1, +1, +1.
    expected = torch.from_numpy(stored[154:355, 123:324].copy()).permute(2, 0, 1)
    assert dataset.frames.face[1].tolist() == [123, 154, 201, 201]
    assert torch.equal(at(build(Config(crop=201), data_root, "train", 16), "00002", 1)[0]["face"], expected)
    assert dataset.frames.eye_left[1].tolist() == [123 + 130, 154 + 59, 40, 40]


def test_a_crop_that_leaves_the_frame_is_black_there(data_root: str) -> None:
    dataset = build(Config(crop=201), data_root, "train", 16)
    face = at(dataset, "00002", 0)[0]["face"]
    assert dataset.frames.face[0].tolist() == [-32, 149, 201, 201]
    assert not face[:, :, :32].any()
    assert (face[0, 120:, 40] > 180).all()


def test_the_whole_frame_stands_in_a_square_on_black(data_root: str) -> None:
    dataset = build(Config(), data_root, "train", 16)
    tall, wide = at(dataset, "00002", 2)[0]["image"], at(dataset, "00003", 2)[0]["image"]
    assert tall.shape == wide.shape == (3, 640, 640)
    for image, border in ((tall, tall[:, :, :80]), (wide, wide[:, :80])):
        assert not border.any()
        assert image.any()
    stored = load_rgb(dataset.folder / "00002" / "frames" / "00002.jpg", orient=False)
    assert torch.equal(tall[:, :, 80:560], torch.from_numpy(stored.copy()).permute(2, 0, 1))


def test_an_exif_turn_does_not_turn_a_frame_away_from_its_boxes(data_root: str) -> None:
    upright = load_rgb(Path(data_root) / "GazeCapture" / "00002" / "frames" / "00001.jpg")
    assert upright.shape == (480, 640, 3)  # so the file does ask for a turn
    image = at(build(Config(), data_root, "train", 16), "00002", 1)[0]["image"]
    assert not image[:, :, :80].any()


def test_the_face_grid_counts_its_cells_from_one(data_root: str) -> None:
    grid = build(SMALL, data_root, "train", 16)[0][0]["face_grid"]
    assert (grid.shape, grid.dtype) == ((25, 25), torch.float32)
    rows, columns = grid.nonzero(as_tuple=True)
    # X 7, Y 6, W 10, H 8 in faceGrid.json
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == (6, 15, 5, 12)
    assert grid.sum() == 80


def test_the_answer_is_linear_or_a_sigmoid_over_the_screens() -> None:
    assert task(Config()).screen is None
    assert task(Config(answer="sigmoid")).screen == SCREEN


def test_the_screens_of_all_devices_fit() -> None:
    # Camera to screen in x and y, width, height: the extremes of apple_device_data.csv, in millimetres.
    for x, y, width, height in [
        (98.31, 10.69, 196.61, 262.15),
        (76.86, 7.37, 153.71, 203.11),
        (23.54, 8.66, 68.36, 121.54),
    ]:
        reach = max(x, width - x, y + height)
        assert reach / 10 <= SCREEN[2]
    assert SCREEN[2] - (10.69 + 262.15) / 10 < 0.1


def test_a_set_that_is_not_there_says_where_it_is_to_be_had(tmp_path: Path) -> None:
    for root, message in (
        (None, "no folder of datasets is named"),
        (str(tmp_path), r"GazeCapture has no \*/info.json. It comes from"),
    ):
        with pytest.raises(DataError, match=rf"^gazecapture: .*{message}.*https://gazecapture.csail.mit.edu"):
            build(SMALL, root, "train", 16)


def test_stray_files_are_no_recordings(data_root: str, tmp_path: Path) -> None:
    assert missing(SMALL, data_root) is None
    (tmp_path / "GazeCapture" / "mean_images").mkdir(parents=True)
    (tmp_path / "GazeCapture" / "00002").mkdir()
    assert "has no */info.json" in str(missing(SMALL, str(tmp_path)))


def change(file: str, edit: Callable[[Any], object]) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        path = folder / "00002" / f"{file}.json"
        content = json.loads(path.read_text())
        edit(content)
        path.write_text(json.dumps(content))

    return write


def never_valid(folder: Path) -> None:
    for path in folder.glob("*/faceGrid.json"):
        content = json.loads(path.read_text())
        path.write_text(json.dumps(content | {"IsValid": [0] * FRAMES}))


MISTAKES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a split of another name": (
        change("info", lambda info: info.update(Dataset="dev")),
        "00002/info.json: Dataset is 'dev' and DeviceName 'iPhone 6', expected train, val, test and an iPhone or iPad",
    ),
    "another device": (change("info", lambda info: info.update(DeviceName="Pixel")), "DeviceName 'Pixel'"),
    "no device": (change("info", lambda info: info.pop("DeviceName")), "info.json: not readable: no DeviceName in it"),
    "a file less": (
        lambda folder: (folder / "00002" / "dotInfo.json").unlink(),
        "dotInfo.json: not readable: .*No such",
    ),
    "half a file": (
        lambda folder: (folder / "00002" / "dotInfo.json").write_text('{"XCam": ['),
        "dotInfo.json: not read",
    ),
    "a column that is too short": (
        change("dotInfo", lambda dots: dots["XCam"].pop()),
        r"00002: its json files tell of \[9, 10\] frames",
    ),
    "a box without area": (
        change("appleLeftEye", lambda eye: eye["W"].__setitem__(1, 0)),
        "appleLeftEye.json: a frame that is valid has a box without area",
    ),
    "no frame that is valid": (never_valid, "GazeCapture has no usable frame of the train split"),
    "no subject of a split": (
        lambda folder: [p.write_text(p.read_text().replace('"train"', '"val"')) for p in folder.glob("*/info.json")],
        "has no usable frame of the train split",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_set_that_contradicts_itself_is_refused(mistake: str, tmp_path: Path) -> None:
    edit, message = MISTAKES[mistake]
    write_gazecapture(tmp_path)
    edit(tmp_path / "GazeCapture")
    with pytest.raises(DataError, match=message):
        build(SMALL, str(tmp_path), "train", 16)


def test_a_target_that_a_sigmoid_cannot_reach_is_refused_where_there_is_one(tmp_path: Path) -> None:
    write_gazecapture(tmp_path)
    change("dotInfo", lambda dots: dots["YCam"].__setitem__(4, -28.5))(tmp_path / "GazeCapture")
    build(SMALL, str(tmp_path), "train", 16)
    message = r"00002/frames/00004.jpg: its target \(1.20.*, -28.5\) cm lies outside .* \(1 of 16 frames do\)"
    with pytest.raises(DataError, match=message):
        build(Config(answer="sigmoid"), str(tmp_path), "train", 16)


def test_a_frame_that_is_broken_is_named_with_its_index(tmp_path: Path) -> None:
    write_gazecapture(tmp_path)
    (tmp_path / "GazeCapture" / "00002" / "frames" / "00002.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=r"00002/frames/00002.jpg, example 2: .*UnidentifiedImageError"):
        build(SMALL, str(tmp_path), "train", 16)[2]


@pytest.mark.parametrize("name", ["frame", "crop"])
def test_a_size_of_nothing_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is 0 px: it must be at least 1"):
        Config(**{name: 0})
