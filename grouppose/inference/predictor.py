"""Poses from pictures, folders, videos and cameras, in one line."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from grouppose.errors import InputError, is_out_of_memory
from grouppose.inference import options
from grouppose.inference.find import Finder
from grouppose.inference.reading import Frame
from grouppose.inference.rescore import read_rescorer
from grouppose.inference.results import PERSON, Keypoints, Result
from grouppose.inference.sources import Reading, frames
from grouppose.inference.tracking import Tracker
from grouppose.models import decode_of, family, load_model, settings_of
from grouppose.people import People, chosen, suppress
from grouppose.skeleton import Skeleton, skeleton_of
from grouppose.views import batch_views, look, resized

Speed = dict[str, float]  # milliseconds; see `Result.speed`


class Predictor:
    """Finds people's poses.

        for result in Predictor("model.safetensors")("street.mp4"):
            print(result.scores, result.keypoints.xy)

    Results come one by one while the source is read: a video of any length needs no more memory
    than a short one. Pictures of one size in a row are computed together.

    Args:
        weights: file of weights (ours or published), or a model.
        device: "auto" (CUDA where there is one), "cpu", "cuda", "cuda:1", ...
        dtype: "float32", "bfloat16" or "float16" (autocast).
        threshold: least score of a person; None: what suits the family, 0.3 for Group Pose.
        max_people: the best so many of a picture are kept.
        size: shorter side in pixels that pictures are resized to; None: the model's.
        longest: limit of the longer side; None: the model's, in proportion to `size`.
        batch_size: pictures computed together at most.
        flip_test: also look at the mirrored picture and average; twice the time. "auto": where
            keypoints have a left and a right. None: what suits the family; Group Pose does not.
        scales: shorter sides to look at and average; `size` is what they are in proportion to.
        suppress: OKS above which the lower-scored of two people is left out; None: nobody is, as
            the model has learned to find everybody once.
        rescore: file of `main.py --train_rescore`, whose scores replace the model's.
        tracker: "oks" keeps identities from picture to picture and smooths keypoints; see `track`.
        bgr: arrays are BGR, as OpenCV has them.
        skeleton: names, limbs, sigmas and left-right pairs; None: the one that the weights were
            trained with, else the published one of that size.
        max_megapixels: larger picture files are refused; None: see `grouppose.pictures`.

    Attributes:
        failed: (path, reason) of what the last source held and could not be read as a whole: files
            of folders, patterns and lists, which are left out, and the rest of damaged videos.

    Raises:
        InputError: for what cannot be read.
    """

    def __init__(
        self,
        weights: str | Path | nn.Module,
        device: str | torch.device = "auto",
        dtype: str = "float32",
        threshold: float | None = None,
        max_people: int = 50,
        size: int | None = None,
        longest: int | None = None,
        batch_size: int = 8,
        flip_test: bool | str | None = None,
        scales: Sequence[int] = (),
        suppress: float | None = None,
        rescore: str | Path | None = None,
        tracker: str | None = None,
        bgr: bool = False,
        skeleton: Skeleton | None = None,
        max_megapixels: float | None = None,
    ) -> None:
        if dtype not in options.DTYPES:
            raise InputError(f"dtype is {dtype!r}, expected one of {', '.join(options.DTYPES)}")
        if tracker not in (None, "oks"):
            raise InputError(f"tracker is {tracker!r}, expected 'oks' or None")
        options.check_all(threshold=threshold, max_people=max_people, batch_size=batch_size)
        options.check_all(size=size, longest=longest, scales=list(scales), suppress=suppress)
        options.check_all(max_megapixels=max_megapixels)
        self.device = _device(device)
        if isinstance(weights, nn.Module):
            self.model = weights.to(self.device).eval()
        else:
            self.model = load_model(weights, self.device)
            if hasattr(self.model, "optimize_for_inference"):
                self.model.optimize_for_inference()
        settings = getattr(self.model, "settings", None)
        if settings is None:
            raise InputError("the model has no settings; build it with grouppose.build_model")
        self.skeleton = skeleton or skeleton_of(
            settings["num_body_points"], settings.get("skeleton")
        )
        if self.skeleton.num_keypoints != settings["num_body_points"]:
            raise InputError(
                f"the skeleton has {self.skeleton.num_keypoints} keypoints, the model "
                f"{settings['num_body_points']}; give the one it was trained with"
            )
        self.max_people, self.batch_size, self.suppress = max_people, batch_size, suppress
        self.tracker, self.bgr, self.max_megapixels = tracker, bgr, max_megapixels
        self.reset()
        self.failed: list[tuple[str, str]] = []
        rescorer = None if rescore is None else read_rescorer(rescore, self.skeleton)
        asked = {"flip_test": flip_test, "test_scales": list(scales) or None}
        if size is not None:
            asked["eval_size"] = resized(settings["eval_size"], size)
        decode = self._decode({**asked, "test_longest": longest}, limited=rescorer is not None)
        self.threshold = decode.threshold if threshold is None else threshold
        precision = None if dtype == "float32" else getattr(torch, dtype)
        self.finder = Finder(self.model, decode, self.device, precision, rescorer)
        self.categories = _categories(settings)
        self._sigmas = torch.tensor(self.skeleton.sigmas)

    def _decode(self, asked: Mapping[str, Any], limited: bool) -> Any:
        """The model's decode, as asked for where that is not None.

        Args:
            limited: to as many people as the model keeps, which a rescoring network was trained
                on, as it looks at their likeness to one another; otherwise all are given.
        """
        settings = self.model.settings
        known = settings_of(family(settings["modelname"]).build_decode)
        given = {name: value for name, value in asked.items() if value is not None}
        if "test_longest" in given and "test_longest" not in known:
            raise InputError("this family of models has no limit of the longer side; omit longest")
        if not limited and "everybody" in known:
            given["everybody"] = True
        return decode_of({**settings, "skeleton": self.skeleton.to_dict()}, **given)

    @property
    def views(self) -> int:
        """How often each picture goes through the model."""
        return len(self.finder.decode.views(1, 1))

    def __call__(self, source: Any) -> Iterator[Result]:
        """Results of all pictures of a source, in order; see `sources.frames` for what it may be.

        `failed` then tells what could not be read.
        """
        return self._results(source, tracked=self.tracker is not None)

    def track(self, source: Any, persist: bool = False) -> Iterator[Result]:
        """Results whose `ids` are the same for a person from picture to picture.

        Pictures that are given alone, or as arrays, go on with the numbers of the calls before. In
        a folder, a pattern or a list, pictures with a number in their name are one sequence, in the
        order of these numbers; each video is one of its own. All of these begin anew.

        Args:
            source: as for a call.
            persist: whatever it is, it goes on with the numbers of the calls before.
        """
        return self._results(source, tracked=True, persist=persist)

    def reset(self) -> None:
        """Forgets the people of earlier calls: who comes next is number 1."""
        self._going_on = Tracker()

    def _results(self, source: Any, tracked: bool, persist: bool = False) -> Iterator[Result]:
        self.failed = []
        reading = Reading(self.bgr, self._note, tracked, self.max_megapixels)
        trackers: dict[str, Tracker] = {}
        for frame, people, speed in self._people(frames(source, reading)):
            result = self._result(frame, people, speed)
            if tracked:
                known = "" if persist else frame.sequence
                tracker = trackers.setdefault(known, Tracker()) if known else self._going_on
                result = tracker(result, frame.rate)
            yield result

    def _note(self, path: str, error: Exception) -> None:
        self.failed.append((path, str(error)))

    def _people(self, pictures: Iterator[Frame]) -> Iterator[tuple[Frame, People, Speed]]:
        """Frames with their people; batches are runs of pictures of one size.

        A camera's pictures do not wait for one another.
        """
        batch: list[tuple[Frame, float]] = []
        for frame, read in _timed(pictures):
            if batch and frame.image.shape != batch[0][0].image.shape:
                yield from self._people_of(batch)
                batch = []
            batch.append((frame, read))
            if len(batch) == self.batch_size or frame.count == 0:
                yield from self._people_of(batch)
                batch = []
        if batch:
            yield from self._people_of(batch)

    def _people_of(self, batch: list[tuple[Frame, float]]) -> Iterator[tuple[Frame, People, Speed]]:
        """Frames of one size with their people and times."""
        start = time.perf_counter()
        found = self._compute([frame for frame, _ in batch])
        network = 1000 * (time.perf_counter() - start) / len(batch)
        for (frame, read), people in zip(batch, found, strict=True):
            yield frame, people, {"read": read, "network": network}

    def _compute(self, batch: Sequence[Frame]) -> list[People]:
        """The people of pictures of one size."""
        views = self.finder.decode.views(*batch[0].image.shape[-2:])
        try:
            inputs = batch_views([look(frame.image, views) for frame in batch])
            return self.finder.people(inputs, [views] * len(batch))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            height, width = max(view.size for view in views)
            raise InputError(
                f"out of memory with {len(batch)} pictures at {width} x {height} pixels; what "
                "helps: a smaller size, longest or batch_size"
            ) from error

    def _result(self, frame: Frame, people: People, speed: Speed) -> Result:
        """Those who are good enough, in pixels of the file's picture."""
        keep = people["scores"] >= self.threshold
        people = chosen(chosen(people, keep), slice(self.max_people))
        if self.suppress is not None:
            people = suppress(people, self._sigmas, self.suppress)
        size = (int(frame.image.shape[-2]), int(frame.image.shape[-1]))
        return Result(
            image=frame.image.permute(1, 2, 0).contiguous().numpy(),
            keypoints=Keypoints(people["keypoints"].numpy(), people["confidence"].numpy(), size),
            scores=people["scores"].numpy(),
            labels=people["labels"].long().numpy(),
            skeleton=self.skeleton,
            path=frame.path,
            frame=frame.number,
            rate=frame.rate,
            categories=self.categories,
            speed=speed,
        )


def _timed(pictures: Iterator[Frame]) -> Iterator[tuple[Frame, float]]:
    """Frames with the milliseconds that each took to read."""
    while True:
        start = time.perf_counter()
        frame = next(pictures, None)
        if frame is None:
            return
        yield frame, 1000 * (time.perf_counter() - start)


def _categories(settings: Mapping[str, Any]) -> tuple[tuple[int, str], ...]:
    """Id and name of what the labels 1, 2, ... stand for; a person, where nobody named them."""
    named = [(int(number), str(name)) for number, name in settings.get("categories") or PERSON]
    unnamed = range(len(named) + 1, settings.get("num_classes", 2))
    return (*named, *((label, f"class_{label}") for label in unnamed))


def _device(name: str | torch.device) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.ones(1, device=device).item()
    except (RuntimeError, AssertionError, ImportError, TypeError, ValueError) as error:
        raise InputError(f"no device {str(name)!r} here; expected auto, cpu or cuda") from error
    return device
