"""What is found in one picture, in its own pixels."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from grouppose.errors import InputError
from grouppose.inference.visualize import draw_poses
from grouppose.skeleton import Skeleton

PERSON = ((1, "person"),)  # COCO's category, where a model was trained without names of classes


@dataclass(frozen=True)
class Keypoints:
    """The keypoints of n people.

    Attributes:
        xy: (n, K, 2) x, y in pixels, pixel centres at whole numbers.
        confidence: (n, K) in [0, 1]; 0: that keypoint was not found, and its place means nothing.
            See `grouppose.keypoints.agreement` for what it means of Group Pose.
        size: height and width of the picture.
    """

    xy: np.ndarray
    confidence: np.ndarray
    size: tuple[int, int]

    @property
    def found(self) -> np.ndarray:
        """(n, K) bool: the keypoints that are there."""
        return self.confidence > 0

    @property
    def xyn(self) -> np.ndarray:
        """(n, K, 2) x, y as shares of the picture's width and height."""
        return self.xy / np.array(self.size[::-1], dtype=self.xy.dtype)

    def __len__(self) -> int:
        return len(self.xy)


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

    def plot(self, names: bool = False, least_confidence: float = 0.0) -> np.ndarray:
        """(H, W, 3) uint8 RGB: the picture with everybody's skeleton.

        Args:
            names: also write the keypoints' names.
            least_confidence: keypoints below it are left out with their limbs.
        """
        return draw_poses(
            self.image,
            self.keypoints.xy,
            skeleton=self.skeleton,
            visible=self.keypoints.found & (self.keypoints.confidence >= least_confidence),
            ids=None if self.ids is None else self.ids.tolist(),
            names=names,
        )

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
        people = []
        for i, (x0, y0, x1, y1) in enumerate(self.boxes):
            person = {
                "image_id": image_id,
                "category_id": int(self.category_ids[i]),
                "keypoints": triples[i].ravel().tolist(),
                "score": round(float(self.scores[i]), 6),
                "bbox": np.round([x0, y0, x1 - x0, y1 - y0], 3).tolist(),
                "keypoint_confidence": np.round(
                    self.keypoints.confidence[i].astype(float), 4
                ).tolist(),
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

    def to_supervision(self) -> Any:
        """The people as `supervision.KeyPoints`; needs that package."""
        try:
            import supervision
        except ModuleNotFoundError as error:
            raise InputError(
                "to_supervision needs the package supervision; pip install supervision"
            ) from error
        return supervision.KeyPoints(
            xy=self.keypoints.xy.astype(np.float32),
            confidence=self.keypoints.confidence.astype(np.float32),
            class_id=self.labels.astype(int),
        )
