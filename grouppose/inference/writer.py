"""What is found, as files: drawn pictures and videos, and COCO's JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from grouppose.errors import InputError
from grouppose.inference.results import Result

MP4 = (".mp4", "mp4v")  # ending and codec; every player
WEBM = (".webm", "VP80")  # every browser


class Annotations:
    """Collects the people of pictures in COCO's format."""

    def __init__(self) -> None:
        self.images: list[dict[str, Any]] = []
        self.people: list[dict[str, Any]] = []
        self.names: list[str] = []

    def add(self, result: Result) -> None:
        """Notes a picture and its people; ids count from 1."""
        self.names = list(result.skeleton.names)
        number = len(self.images) + 1
        height, width = result.keypoints.size
        image = {"id": number, "file_name": result.path, "height": height, "width": width}
        self.images.append({**image, "frame": result.frame})
        for person in result.to_coco(number):
            person["id"] = len(self.people) + 1
            person["num_keypoints"] = len(self.names)
            self.people.append(person)

    def content(self) -> dict[str, Any]:
        """images, annotations and categories, as an annotation file has them."""
        category = {"id": 1, "name": "person", "keypoints": self.names}
        return {"images": self.images, "annotations": self.people, "categories": [category]}


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
