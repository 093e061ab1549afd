"""What is found, as files: drawn pictures and videos, and COCO's JSON."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from grouppose.errors import InputError
from grouppose.inference.results import Result
from grouppose.keypoints import BOX_SHARE, LEAST_SPAN
from grouppose.skeleton import DEFAULT_SIGMA, read_skeleton, shipped

MP4 = (".mp4", "mp4v")  # ending and codec; every player
WEBM = (".webm", "VP80")  # every browser


class Annotations:
    """Collects the people of pictures in COCO's format, as results and as labels to train on."""

    def __init__(self) -> None:
        self.images: list[dict[str, Any]] = []
        self.people: list[dict[str, Any]] = []
        self.categories: list[dict[str, Any]] = []

    def add(self, result: Result) -> None:
        """Notes a picture and its people; ids count from 1."""
        self.categories = _categories(result)
        number = len(self.images) + 1
        height, width = result.keypoints.size
        image = {"id": number, "file_name": result.path, "height": height, "width": width}
        self.images.append({**image, "frame": result.frame})
        for person in result.to_coco(number):
            num_keypoints = sum(v > 0 for v in person["keypoints"][2::3])
            box = _labelled_box(person["bbox"], width, height)
            self.people.append(
                {
                    **person,
                    "id": len(self.people) + 1,
                    "num_keypoints": num_keypoints,
                    "bbox": box,
                    "area": _area(box, num_keypoints),
                    "iscrowd": 0,
                }
            )

    def content(self) -> dict[str, Any]:
        """images, annotations and categories, as an annotation file has them.

        Files are named from the folder that they have in common, as in a data set.
        """
        names = _from_common_folder([image["file_name"] for image in self.images])
        images = [
            {**image, "file_name": name} for image, name in zip(self.images, names, strict=True)
        ]
        return {"images": images, "annotations": self.people, "categories": self.categories}


def _categories(result: Result) -> list[dict[str, Any]]:
    """The model's, with its skeleton, whose pairs COCO counts from 1."""
    skeleton = result.skeleton
    poses: dict[str, Any] = {
        "keypoints": list(skeleton.names),
        "skeleton": [[a + 1, b + 1] for a, b in skeleton.limbs],
    }
    known = {read_skeleton(name).sigmas for name in shipped()}
    if skeleton.sigmas not in known and set(skeleton.sigmas) != {DEFAULT_SIGMA}:
        poses["sigmas"] = list(skeleton.sigmas)  # which no reader could tell from the names
    return [{"id": number, "name": name, **poses} for number, name in result.categories]


def _labelled_box(box: list[float], width: int, height: int) -> list[float]:
    """[x, y, w, h] with sides of a pixel at least, as keypoints on a line or outside have none."""
    x, y, w, h = box
    w, h = max(w, 1.0), max(h, 1.0)
    return [min(x, width - w), min(y, height - h), w, h]


def _area(box: list[float], num_keypoints: int) -> float:
    """As `grouppose.keypoints.pose_area` has it, which takes one or two for a square."""
    w, h = box[2:]
    if num_keypoints < 3:
        w = h = max(w, h, LEAST_SPAN)
    return round(BOX_SHARE * w * h, 3)


def _from_common_folder(paths: list[str]) -> list[str]:
    """The paths of files as a data set names them; what is no path stays as it is."""
    if any("://" in path for path in paths):
        return paths
    try:
        folder = os.path.commonpath([os.path.dirname(path) for path in paths])
    except ValueError:  # none at all, or some of them absolute and some not
        return paths
    start = folder or os.curdir
    return [Path(os.path.relpath(path, start)).as_posix() if path else path for path in paths]


class Writer:
    """Writes drawn pictures, one file a video, and all people as COCO's JSON.

    Args:
        folder: that exists.
        with_json: also write predictions.json.
        video: ending and codec of videos.

    Attributes:
        written: the files, in order; predictions.json is there at the end.
    """

    def __init__(self, folder: Path, with_json: bool, video: tuple[str, str] = MP4) -> None:
        self.folder, self.with_json = folder, with_json
        self.written: list[Path] = []
        self._annotations = Annotations()
        self._format = video
        self._video: Any = None
        self._video_of = ""
        self._taken: set[str] = set()

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: type | None, *rest: object) -> None:
        self._close_video()
        if self.with_json and kind is None:
            path = self.folder / "predictions.json"
            path.write_text(json.dumps(self._annotations.content()), encoding="utf-8")
            self.written.append(path)

    def add(self, result: Result) -> np.ndarray:
        """Draws a result, writes it, and gives the drawn picture (H, W, 3) RGB."""
        drawn = result.plot()
        if result.rate:
            self._frame(result, drawn)
        else:
            self.written.append(result.save(self.folder / self._free_name(result)))
        if self.with_json:
            self._annotations.add(result)
        return drawn

    def _free_name(self, result: Result) -> str:
        """The file's own name, as a format that can be written, and never twice."""
        stem = Path(result.path).stem or "picture"
        if result.frame:
            stem += f"_{result.frame}"
        ending = Path(result.path).suffix.lower()
        ending = ending if ending in (".jpg", ".jpeg", ".png", ".webp") else ".png"
        name, number = stem + ending, 1
        while name in self._taken:
            number += 1
            name = f"{stem}_{number}{ending}"
        self._taken.add(name)
        return name

    def _frame(self, result: Result, drawn: np.ndarray) -> None:
        if self._video_of != result.path:
            self._close_video()
            ending, codec = self._format
            path = self.folder / f"{Path(result.path).stem}{ending}"
            size = (drawn.shape[1], drawn.shape[0])
            code = cv2.VideoWriter_fourcc(*codec)
            self._video = cv2.VideoWriter(str(path), code, result.rate, size)
            self._video_of = result.path
            if not self._video.isOpened():
                raise InputError(f"could not write {path}; this OpenCV writes no {ending[1:]}")
            self.written.append(path)
        self._video.write(drawn[..., ::-1])

    def _close_video(self) -> None:
        if self._video is not None:
            self._video.release()
            self._video, self._video_of = None, ""
