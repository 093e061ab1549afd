"""What is found in one picture, in its own pixels."""

from __future__ import annotations

import csv
import inspect
import io
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from grouppose.errors import InputError, nearest
from grouppose.inference.table import table
from grouppose.inference.visualize import draw_poses
from grouppose.inference.window import show_picture
from grouppose.skeleton import Skeleton

PERSON = ((1, "person"),)  # COCO's category, where a model was trained without names of classes
LABELS = ("id", "class", "score")  # what can be written at a person


@dataclass(frozen=True)
class Keypoints:
    """The keypoints of n people.

    Attributes:
        xy: (n, K, 2) x, y in pixels, pixel centres at whole numbers.
        confidence: (n, K) up to 1; 0: that keypoint was not found, and its place means nothing.
            See `grouppose.keypoints.agreement` for what it means of Group Pose.
        size: height and width of the picture.
    """

    xy: np.ndarray
    confidence: np.ndarray
    size: tuple[int, int]

    @property
    def found(self) -> np.ndarray:
        """(n, K) bool: the keypoints that are there."""
        return self.confidence != 0

    @property
    def xyn(self) -> np.ndarray:
        """(n, K, 2) x, y as shares of the picture's width and height."""
        return self.xy / np.array(self.size[::-1], dtype=self.xy.dtype)

    def __len__(self) -> int:
        return len(self.xy)

    def cpu(self) -> Keypoints:
        """Itself: these are arrays already. For code written for Ultralytics' results."""
        return self

    numpy = cpu


@dataclass(frozen=True)
class Result:
    """The people of one picture, best first.

    `result[i]`, a slice or a mask of people gives a result of these alone.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        keypoints: of all people.
        scores: (n,) in [0, 1].
        labels: (n,) int, from 1: whose category is `categories[label - 1]`.
        skeleton: names and limbs of the K keypoints.
        path: of the file, or what else the picture came from.
        frame: number in the source, from 0.
        rate: pictures a second, where the source is a video; 0 otherwise.
        ids: (n,) int, the same for a person from frame to frame, where people are tracked.
        categories: id and name of the model's classes, in the order of their labels.
        speed: milliseconds for this picture: "read", "network" (its share of the batch; from
            picture to people) and, once `plot` was called, "drawing".
    """

    image: np.ndarray
    keypoints: Keypoints
    scores: np.ndarray
    labels: np.ndarray
    skeleton: Skeleton
    path: str = ""
    frame: int = 0
    rate: float = 0.0
    ids: np.ndarray | None = None
    categories: tuple[tuple[int, str], ...] = PERSON
    speed: dict[str, float] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, people: int | slice | np.ndarray | list) -> Result:
        if isinstance(people, int | np.integer):
            if not -len(self) <= people < len(self):
                raise IndexError(f"person {people} of {len(self)}")
            people = [people]
        points = self.keypoints
        return replace(
            self,
            keypoints=Keypoints(points.xy[people], points.confidence[people], points.size),
            scores=self.scores[people],
            labels=self.labels[people],
            ids=None if self.ids is None else self.ids[people],
            speed=dict(self.speed),
        )

    @property
    def category_ids(self) -> np.ndarray:
        """(n,) int: each person's category in the data set that the model was trained on."""
        ids = [self.categories[label - 1][0] for label in self.labels]
        return np.array(ids, dtype=int)

    @property
    def category_names(self) -> list[str]:
        """n names, such as "person"."""
        return [self.categories[label - 1][1] for label in self.labels]

    @property
    def boxes(self) -> np.ndarray:
        """(n, 4) x0, y0, x1, y1 around each person's keypoints, cut to the picture.

        Those of a person without any are 0.
        """
        height, width = self.keypoints.size
        points, found = self.keypoints.xy, self.keypoints.found[..., None]
        far = points.dtype.type(np.inf)
        corners = [np.where(found, points, far).min(1), np.where(found, points, -far).max(1)]
        boxes = np.concatenate(corners, 1).clip(0, [width, height] * 2)
        boxes[~found.any((1, 2))] = 0
        return boxes

    def plot(
        self,
        names: bool = False,
        least_confidence: float = 0.0,
        labels: str | Sequence[str] | None = "auto",
        boxes: bool = False,
        line_width: int | None = None,
    ) -> np.ndarray:
        """(H, W, 3) uint8 RGB: the picture with everybody's skeleton.

        Args:
            names: also write the keypoints' names.
            least_confidence: keypoints below it are left out with their limbs.
            labels: what to write at each person: "id" (of the track), "class", "score", or several
                of them; None: nothing. "auto": the id of people who are tracked, the class where
                there are several.
            boxes: also draw everybody's box.
            line_width: in pixels; None: by the size of person and picture.
        """
        start = time.perf_counter()
        if line_width is not None and line_width < 1:
            raise InputError(f"line_width is {line_width}, expected at least 1 pixel, or None")
        drawn = draw_poses(
            self.image,
            self.keypoints.xy,
            skeleton=self.skeleton,
            visible=self.keypoints.found & (self.keypoints.confidence >= least_confidence),
            ids=None if self.ids is None else self.ids.tolist(),
            names=names,
            labels=self._labels(labels),
            boxes=self.boxes if boxes else None,
            width=line_width,
        )
        self.speed["drawing"] = 1000 * (time.perf_counter() - start)
        return drawn

    def _labels(self, wanted: str | Sequence[str] | None) -> list[str]:
        """A text for each person."""
        if wanted == "auto":
            several = {"id": self.ids is not None, "class": len(self.categories) > 1}
            wanted = [name for name, shown in several.items() if shown]
        wanted = [wanted] if isinstance(wanted, str) else list(wanted or ())
        for name in wanted:
            if name not in LABELS:
                raise InputError(f"labels has {name!r}; {nearest(str(name), (*LABELS, 'auto'))}")
        if "id" in wanted and self.ids is None:
            raise InputError("people have no ids to label; track them: Predictor(tracker='oks')")
        texts = {"class": self.category_names, "score": [f"{score:.2f}" for score in self.scores]}
        if self.ids is not None:
            texts["id"] = [str(number) for number in self.ids]
        return [" ".join(texts[name][i] for name in wanted) for i in range(len(self))]

    def show(self, **drawing: Any) -> None:
        """Shows `plot(**drawing)`: in a notebook below the cell, else in a window until a key.

        Raises:
            InputError: there is no display.
        """
        show_picture(self.plot(**drawing), self.path)

    def crops(self, margin: float = 0.1) -> list[np.ndarray]:
        """Everybody cut out of the picture, (h, w, 3) uint8 RGB each.

        Args:
            margin: around the box of the keypoints, which hair and feet stand out of; a share of
                its longer side.
        """
        height, width = self.image.shape[:2]
        cut = []
        for x0, y0, x1, y1 in self.boxes:
            more = margin * max(x1 - x0, y1 - y0)
            left = int(np.clip(np.floor(x0 - more), 0, width - 1))
            top = int(np.clip(np.floor(y0 - more), 0, height - 1))
            right = int(np.clip(np.ceil(x1 + more) + 1, left + 1, width))
            bottom = int(np.clip(np.ceil(y1 + more) + 1, top + 1, height))
            cut.append(self.image[top:bottom, left:right].copy())
        return cut

    def cpu(self) -> Result:
        """Itself: these are arrays already. For code written for Ultralytics' results."""
        return self

    numpy = cpu

    def save(self, path: str | Path, **drawing: Any) -> Path:
        """Writes `plot(**drawing)` as a picture; the format follows the name."""
        import cv2

        path = Path(path)
        try:
            written = cv2.imwrite(str(path), self.plot(**drawing)[..., ::-1])
        except cv2.error:  # a name whose ending says no format
            written = False
        if not written:
            raise InputError(
                f"could not write {path}; expected a folder that exists and a name like a.jpg"
            )
        return path

    def to_coco(self, image_id: int = 0) -> list[dict[str, Any]]:
        """The people as COCO's result files hold them, with box, confidences and id beside.

        Args:
            image_id: of the picture.

        Returns:
            n dicts of image_id, category_id, keypoints [x, y, v] * K (v = 2; 0, 0, 0 where one is
            missing), score, bbox [x, y, w, h], keypoint_confidence [c] * K, and track_id where
            people are tracked.
        """
        found = self.keypoints.found
        triples = np.concatenate([self.keypoints.xy, np.full((*found.shape, 1), 2)], -1)
        triples = np.where(found[..., None], np.round(triples.astype(float), 3), 0.0)
        confidence = np.round(self.keypoints.confidence.astype(float), 4)
        confidence = np.where(found, confidence.clip(1e-4), 0.0)  # 0 is for missing ones alone
        category_ids = self.category_ids.tolist()
        people = []
        for i, (x0, y0, x1, y1) in enumerate(self.boxes):
            person = {
                "image_id": image_id,
                "category_id": category_ids[i],
                "keypoints": triples[i].ravel().tolist(),
                "score": round(float(self.scores[i]), 6),
                "bbox": np.round([x0, y0, x1 - x0, y1 - y0], 3).tolist(),
                "keypoint_confidence": confidence[i].tolist(),
            }
            if self.ids is not None:
                person["track_id"] = int(self.ids[i])
            people.append(person)
        return people

    def to_dict(self) -> dict[str, Any]:
        """Everything but the pixels, as plain numbers and lists."""
        height, width = self.keypoints.size
        people = []
        for found, name in zip(self.to_coco(), self.category_names, strict=True):
            values = iter(found["keypoints"])
            person = {
                "score": found["score"],
                "category_id": found["category_id"],
                "category": name,
                "box": found["bbox"],
                "keypoints": [[x, y] for x, y, _ in zip(values, values, values, strict=True)],
                "confidence": found["keypoint_confidence"],
            }
            if "track_id" in found:
                person["id"] = found["track_id"]
            people.append(person)
        return {
            "path": self.path,
            "frame": self.frame,
            "height": height,
            "width": width,
            "keypoint_names": list(self.skeleton.names),
            "people": people,
        }

    def to_json(self) -> str:
        """`to_dict` as text."""
        return json.dumps(self.to_dict())

    def to_csv(self, header: bool = True, each: str = "person") -> str:
        """The people as comma-separated values.

        Args:
            header: begin with a line of the columns' names.
            each: what has a line. "person": path, frame, person (from 0), id (of people who are
                tracked), category_id, category, score, x0, y0, x1, y1 (box), and x, y and
                confidence of each keypoint, empty where it is missing. "keypoint": path, frame,
                time (seconds; empty if it is no video), person, track (empty without a tracker),
                category_id, category, score, x0, y0, x1, y1, name, x, y and confidence; a missing
                keypoint has no line.
        """
        columns, rows = table(self, each)
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([columns] * header + rows)
        return text.getvalue()

    def to_df(self, each: str = "person") -> Any:
        """The same as a `pandas.DataFrame`; needs that package."""
        try:
            import pandas
        except ModuleNotFoundError as error:
            raise InputError("to_df needs the package pandas; pip install pandas") from error
        columns, rows = table(self, each)
        rows = [[math.nan if value is None else value for value in row] for row in rows]
        return pandas.DataFrame(rows, columns=columns)

    def to_supervision(self) -> Any:
        """The people as `supervision.KeyPoints`; needs that package.

        class_id is the category's id; `data` has its name ("class_name") and the track's id
        ("tracker_id"), if any. A missing keypoint is at 0, 0, as supervision has it.
        """
        try:
            import supervision
        except ModuleNotFoundError as error:
            raise InputError(
                "to_supervision needs the package supervision; pip install supervision"
            ) from error
        if not len(self):
            return supervision.KeyPoints.empty()
        found, confidence = self.keypoints.found, self.keypoints.confidence.astype(np.float32)
        columns: dict[str, Any] = {"confidence": confidence}
        if "keypoint_confidence" in inspect.signature(supervision.KeyPoints).parameters:  # 0.29 on
            columns = {
                "keypoint_confidence": confidence,
                "detection_confidence": self.scores.astype(np.float32),
                "visible": found,
            }
        data = {"class_name": np.array(self.category_names, dtype=str)}
        if self.ids is not None:
            data["tracker_id"] = self.ids
        return supervision.KeyPoints(
            xy=np.where(found[..., None], self.keypoints.xy, 0).astype(np.float32),
            class_id=self.category_ids,
            data=data,
            **columns,
        )
