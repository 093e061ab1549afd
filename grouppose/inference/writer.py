"""What is found, as files: drawn pictures and videos, COCO's JSON and CSV."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from grouppose.errors import InputError
from grouppose.files import partial_name, write_whole
from grouppose.inference.outputs import CSV, JSON, Names, signed
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
    """Writes drawn pictures, one file a video, and all people as COCO's JSON and as CSV.

    Each file gets its name when it is whole.

    Args:
        folder: that exists.
        with_json: also write predictions.json.
        with_csv: also write predictions.csv, a line each person and keypoint.
        video: ending and codec of videos.
        names: of the files; None: they are chosen as sources come.
        endless: the source ends when the user stops the program.

    Attributes:
        written: the files, in order; predictions.json and .csv are there at the end.
    """

    def __init__(
        self,
        folder: Path,
        with_json: bool = False,
        with_csv: bool = False,
        video: tuple[str, str] = MP4,
        names: Names | None = None,
        endless: bool = False,
    ) -> None:
        self.folder, self.with_json = folder, with_json
        self.written: list[Path] = []
        self._endless = endless
        self._annotations = Annotations()
        self._rows: list[str] | None = [] if with_csv else None
        self._format = video
        self._names = names or Names(video=video[0])
        self._video: _Video | None = None
        self._video_of = ("", -1)  # its source and the last picture's number

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: type | None, *rest: object) -> None:
        whole = kind is None or (self._endless and issubclass(kind, KeyboardInterrupt))
        self._close_video(whole)
        if not whole:
            return
        if self.with_json:
            self._write(JSON, signed(self._annotations.content()))
        if self._rows is not None:
            self._write(CSV, "".join(self._rows).encode(errors="surrogateescape"))

    def add(self, result: Result) -> np.ndarray:
        """Draws a result, writes it, and gives the drawn picture (H, W, 3) RGB."""
        drawn = result.plot()
        if result.rate:
            self._frame(result, drawn)
        else:
            self._close_video()
            name = self._names.of(result.path, result.frame, moving=False)
            self._write(name, _encoded(drawn, self.folder / name))
        if self.with_json:
            self._annotations.add(result)
        if self._rows is not None:
            self._rows.append(result.to_csv(header=not self._rows, each="keypoint"))
        return drawn

    def _write(self, name: str, content: bytes) -> None:
        path = self.folder / name
        write_whole(path, lambda partial: partial.write_bytes(content))
        self.written.append(path)

    def _frame(self, result: Result, drawn: np.ndarray) -> None:
        path, before = self._video_of
        if self._video is None or result.path != path or result.frame <= before:
            self._close_video()
            name = self._names.of(result.path, result.frame, moving=True)
            size = (drawn.shape[1], drawn.shape[0])
            self._video = _Video(self.folder / name, self._format[1], result.rate, size)
        self._video_of = (result.path, result.frame)
        self._video.add(drawn)

    def _close_video(self, whole: bool = True) -> None:
        if self._video is not None:
            video, self._video = self._video, None
            video.close(whole)
            if whole:
                self.written.append(video.path)


class _Video:
    """A file that gets its name when it is whole.

    Args:
        path: that name.
        codec: four letters.
        rate: pictures a second.
        size: width, height.
    """

    def __init__(self, path: Path, codec: str, rate: float, size: tuple[int, int]) -> None:
        self.path, self._size = path, size
        self._partial = partial_name(path, "part-drawing")
        code = cv2.VideoWriter_fourcc(*codec)
        self._writer = cv2.VideoWriter(str(self._partial), code, rate, size)
        if not self._writer.isOpened():
            raise InputError(f"could not write {path}; this OpenCV writes no {path.suffix[1:]}")

    def add(self, drawn: np.ndarray) -> None:
        if (drawn.shape[1], drawn.shape[0]) != self._size:  # as some streams change it
            drawn = cv2.resize(drawn, self._size)
        self._writer.write(drawn[..., ::-1])

    def close(self, whole: bool) -> None:
        self._writer.release()
        try:
            if whole:
                write_whole(self.path, self._move)
        finally:
            self._partial.unlink(missing_ok=True)

    def _move(self, partial: Path) -> None:
        video = cv2.VideoCapture(str(self._partial))
        opened = video.isOpened()
        video.release()
        if not opened:  # OpenCV does not say that the disk is full
            raise OSError("its end could not be written")
        os.replace(self._partial, partial)


def _encoded(drawn: np.ndarray, path: Path) -> bytes:
    """A picture (H, W, 3) RGB as the content of a file of that name."""
    try:
        done, content = cv2.imencode(path.suffix, drawn[..., ::-1])
    except cv2.error:
        done = False
    if not done:
        height, width = drawn.shape[:2]
        raise InputError(
            f"could not write {path}: {path.suffix} holds no {width} x {height} pixels"
        )
    return content.tobytes()
