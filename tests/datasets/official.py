"""Small copies of the official sets, in their real formats and with their traps, written by code.

What a picture shows can be told from its pixels: the bird's box of CUB is red, a frame of GazeCapture has a red face, a
green left eye and a blue right one. Everything else is noise, so that no two pictures are alike.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from zoombench.tests.datasets import official_folders, official_tables
from zoombench.tests.datasets.pictures import noise, paint, save

RED, GREEN, BLUE = (220, 20, 20), (20, 220, 20), (20, 20, 220)
CUB_CLASSES = {1: "001.Black_footed_Albatross", 2: "002.Laysan_Albatross", 7: "007.Auklet", 200: "200.Yellowthroat"}
CUB_IMAGES = 11  # of a class, the second and the sixth of the test split
SPECIES = {  # category_id: in another order than that of the folders, which hold spaces
    4: ("Aves", "Acridotheres tristis"),
    0: ("Plantae", "Acer rubrum"),
    5088: ("Fungi", "Zeus olympius"),
    17: ("Insecta", "Danaus plexippus"),
}
INAT_TRAIN, INAT_VAL = 6, 3  # images of a species
FRAMES = 10  # of a recording; the fourth and the last are not valid
RECORDINGS = {
    "00002": ("train", "iPhone 6"),
    "00003": ("train", "iPad Air 2"),
    "00005": ("val", "iPhone 5s"),
    "00010": ("test", "iPad Mini"),
    "00011": ("test", "iPhone 6s Plus"),
    "00012": ("train", "iPhone 4s"),  # without a valid frame
}


def cub_size(image: int) -> tuple[int, int]:
    """Width and height: no two alike in a row."""
    return 60 + image % 7 * 8, 90 - image % 5 * 8


def cub_box(image: int) -> tuple[int, int, int, int]:
    """x, y, width, height, in the middle of the picture."""
    width, height = cub_size(image)
    return width // 2 - 12, height // 2 - 8 - image % 3, 24, 14 + image % 3


CUB_PARTS = ("back", "beak", "belly", "breast", "crown", "forehead", "left eye", "left leg", "left wing", "nape")
CUB_PARTS += ("right eye", "right leg", "right wing", "tail", "throat")


def cub_parts(image: int) -> dict[str, tuple[float, float] | None]:
    """x and y of each part in the bird's box, None where it is not visible; one is outside every view."""
    left, top, _, _ = cub_box(image)
    places: dict[str, tuple[float, float] | None] = {
        name: (left + 2.0 + number, top + 1.5) if (image + number) % 4 else None
        for number, name in enumerate(CUB_PARTS)
    }
    return places | {"left eye": (left + 5.0, top + 9.0), "right eye": (left + 19.0, top + 9.0), "tail": (0.5, 0.5)}


def write_cub(root: Path) -> None:
    """CUB_200_2011: ids from 1, in another order in each file; a greyscale and a CMYK jpeg; a stray file.

    The left eye is green and the right one blue. Parts that are not visible are at 0 0, as in the archive.
    """
    folder = root / "CUB_200_2011"
    lines: dict[str, list[str]] = {name: [] for name in ("images", "image_class_labels", "train_test_split")}
    lines["bounding_boxes"], lines["parts/part_locs"] = [], []
    image = 0
    for class_id, name in CUB_CLASSES.items():
        for number in range(CUB_IMAGES):
            image += 1
            bird = name.split(".")[1].title()  # other capitals than the folder has
            path = f"{name}/{bird}_{number:04d}_{image}.jpg"
            pixels = noise(*cub_size(image), seed=image)
            paint(pixels, cub_box(image), RED)
            places = cub_parts(image)
            for eye, colour in (("left eye", GREEN), ("right eye", BLUE)):
                x, y = places[eye] or (0, 0)
                paint(pixels, (int(x) - 3, int(y) - 3, 6, 6), colour)
            save(pixels, folder / "images" / path, {5: "L", 6: "CMYK"}.get(image, "RGB"))
            lines["images"].append(f"{image} {path}")
            lines["image_class_labels"].append(f"{image} {class_id}")
            lines["train_test_split"].append(f"{image} {int(number not in (1, 5))}")
            for part, place in enumerate(places.values(), start=1):
                x, y = place or (0.0, 0.0)
                lines["parts/part_locs"].append(f"{image} {part} {x} {y} {int(place is not None)}")
            lines["bounding_boxes"].append(f"{image} " + " ".join(f"{float(one)}" for one in cub_box(image)))
    (folder / "images" / ".DS_Store").write_bytes(b"\0")
    (folder / "parts").mkdir()
    (folder / "parts" / "parts.txt").write_text("".join(f"{at} {name}\n" for at, name in enumerate(CUB_PARTS, start=1)))
    for turn, (name, content) in enumerate(lines.items()):
        shuffled = [content[at] for at in np.random.default_rng(turn).permutation(len(content))]
        (folder / f"{name}.txt").write_text("\n".join(shuffled) + "\n")
    (folder / "classes.txt").write_text("".join(f"{key} {name}\n" for key, name in CUB_CLASSES.items()))


def inat_colour(category: int) -> tuple[int, int, int]:
    """A colour that tells the species."""
    return 100 + list(SPECIES).index(category) * 40, 10, 10


def write_inaturalist(root: Path) -> None:
    """inaturalist_2017: category_id is not the folders' order; spaces; a greyscale and a CMYK jpeg; a stray file."""
    folder = root / "inaturalist_2017"
    image = 100
    for split, count in (("train", INAT_TRAIN), ("val", INAT_VAL)):
        images, annotations = [], []
        for number in range(count):
            for category, (above, species) in SPECIES.items():
                image += 1
                width, height = (80, 60) if number % 2 else (50, 80)
                path = f"train_val_images/{above}/{species}/{image * 7919:032x}.jpg"
                pixels = noise(width, height, seed=image)
                paint(pixels, (width // 2 - 12, height // 2 - 12, 24, 24), inat_colour(category))
                save(pixels, folder / path, {103: "L", 107: "CMYK"}.get(image, "RGB"))
                images.append({"id": image, "width": width, "height": height, "file_name": path, "license": 1})
                annotations.append({"id": image + 5000, "image_id": image, "category_id": category})
        content = {
            "info": {"year": 2017},
            "images": images,
            "categories": [{"id": c, "name": name, "supercategory": above} for c, (above, name) in SPECIES.items()],
            "annotations": annotations[::-1],
        }
        (folder / f"{split}2017.json").write_text(json.dumps(content))
    (folder / "train_val_images" / ".DS_Store").write_bytes(b"\0")


def gaze_face(frame: int) -> tuple[int, int, int, int]:
    """x, y, width, height as appleFace.json has it; the first face begins left of the frame."""
    return (-31 if frame == 0 else 120 + 4 * frame), 150 + 5 * frame, 200, 200


def gaze_target(recording: str, frame: int) -> tuple[float, float]:
    """XCam and YCam in centimetres."""
    return int(recording) / 10 + frame / 4, -3.5 - frame / 8


def write_gazecapture(root: Path) -> None:
    """GazeCapture: invalid frames, a face that leaves the frame, frames of both shapes, stray files, an EXIF turn."""
    folder = root / "GazeCapture"
    for recording, (split, device) in RECORDINGS.items():
        here = folder / recording
        width, height = (640, 480) if recording == "00003" else (480, 640)
        valid = [int(recording != "00012" and frame not in (3, FRAMES - 1)) for frame in range(FRAMES)]
        faces = [gaze_face(frame) for frame in range(FRAMES)]
        left, right = (130, 60, 40, 40), (30, 60, 40, 40)  # relative to the face; the left eye is on the right
        for frame, face in enumerate(faces):
            pixels = noise(width, height, seed=int(recording) * 100 + frame)
            # The authors' boxes are one pixel up and left of the face; the eyes another pixel up.
            paint(pixels, (face[0] - 1, face[1] - 1, face[2] + 1, face[3] + 1), RED)
            for (x, y, w, h), colour in ((left, GREEN), (right, BLUE)):
                paint(pixels, (face[0] - 1 + x, face[1] - 2 + y, w, h), colour)
            exif = Image.Exif()
            if frame == 1:
                exif[0x0112] = 6
            save(pixels, here / "frames" / f"{frame:05d}.jpg", exif=exif)
        grid = (7, 6, 10, 8)
        files: dict[str, Any] = {
            "frames": [f"{frame:05d}.jpg" for frame in range(FRAMES)],
            "appleFace": _columns(faces, valid),
            "appleLeftEye": _columns([left] * FRAMES, valid),
            "appleRightEye": _columns([right] * FRAMES, valid),
            "faceGrid": _columns([grid] * FRAMES, valid),
            "dotInfo": {
                "DotNum": [0] * FRAMES,
                "XPts": [160.0] * FRAMES,
                "YPts": [284.0] * FRAMES,
                "XCam": [gaze_target(recording, frame)[0] for frame in range(FRAMES)],
                "YCam": [gaze_target(recording, frame)[1] for frame in range(FRAMES)],
                "Time": [0.5] * FRAMES,
            },
            "info": {"TotalFrames": FRAMES, "NumFaceDetections": sum(valid), "Dataset": split, "DeviceName": device},
            "screen": {"H": [568] * FRAMES, "W": [320] * FRAMES, "Orientation": [1] * FRAMES},
        }
        for name, content in files.items():
            (here / f"{name}.json").write_text(json.dumps(content))
    (folder / ".DS_Store").write_bytes(b"\0")
    (folder / "README.txt").write_text("not a recording")
    (folder / "mean_images").mkdir()


def _columns(boxes: list[tuple[int, int, int, int]], valid: list[int]) -> dict[str, list[float]]:
    """Boxes as the app logged them: fractions of pixels, and zeros where nothing was found."""
    columns: dict[str, list[float]] = {
        key: [box[at] + (0.25 if box[at] > 0 else 0) if ok else 0 for box, ok in zip(boxes, valid, strict=True)]
        for at, key in enumerate("XYWH")
    }
    return columns | {"IsValid": [float(ok) for ok in valid]}


WRITERS: dict[str, Callable[[Path], None]] = {
    "cub_200": write_cub,
    "gazecapture": write_gazecapture,
    "inaturalist_2017": write_inaturalist,
    "imagenet": official_folders.write_imagenet,
    "mit_adobe_5k": official_folders.write_fivek,
    "cluttered_mnist": official_tables.write_mnist,
    "fgvc_aircraft": official_tables.write_aircraft,
    "stanford_cars": official_tables.write_cars,
    "flowers_102": official_tables.write_flowers,
    "oxford_pets": official_tables.write_pets,
    "describable_textures": official_tables.write_textures,
}
