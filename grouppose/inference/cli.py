"""The command `grouppose`: poses from pictures and videos, and what there is to know about it."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grouppose.errors import InputError, UserError

if TYPE_CHECKING:  # imported inside functions, so that --help answers at once
    from grouppose.inference.predictor import Predictor
    from grouppose.inference.results import Result


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    given = _parser().parse_args(arguments)
    try:
        return given.run(given)
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="grouppose", description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    predict = commands.add_parser("predict", help="find and draw people's poses")
    predict.set_defaults(run=run_predict)
    add = predict.add_argument
    add("source", help="picture, video, folder, pattern, or a camera's number")
    add("--weights", required=True, metavar="FILE", help="checkpoint")
    add("--out", type=Path, default=Path("predictions"), metavar="DIR", help="what is drawn")
    add("--json", action="store_true", help="also write DIR/predictions.json in COCO's format")
    add("--track", action="store_true", help="keep people's numbers through a video")
    add("--show", action="store_true", help="show pictures in a window; q ends")
    add("--threshold", type=float, default=0.3, help="least score of a person")
    add("--size", type=int, metavar="PIXELS", help="shorter side to resize to")
    add("--flip-test", action="store_true", help="also look at mirrored pictures; twice the time")
    add("--scales", type=int, nargs="+", default=[], metavar="PIXELS", help="look at each, merge")
    add("--rescore", metavar="FILE", help="of main.py --train_rescore")
    add("--device", default="auto", help="auto, cpu or cuda")
    add("--dtype", default="float32", help="float32, bfloat16 or float16")
    add("--quiet", action="store_true", help="no progress bar and no summary")

    info = commands.add_parser("info", help="settings and size of a checkpoint")
    info.set_defaults(run=run_info)
    info.add_argument("file", metavar="FILE")

    doctor = commands.add_parser("doctor", help="what is installed here and what is missing")
    doctor.set_defaults(run=lambda given: run_doctor())
    return parser


def run_predict(given: argparse.Namespace) -> int:
    """Predicts with a checkpoint; see `predict_into`."""
    from grouppose.inference.predictor import Predictor

    predictor = Predictor(
        given.weights,
        device=given.device,
        dtype=given.dtype,
        threshold=given.threshold,
        size=given.size,
        flip_test=given.flip_test,
        scales=given.scales,
        rescore=given.rescore,
        tracker="oks" if given.track else None,
    )
    source = int(given.source) if given.source.isdigit() else given.source
    return predict_into(predictor, source, given.out, given.json, given.show, given.quiet)


def predict_into(
    predictor: Predictor,
    source: Any,
    folder: Path,
    with_json: bool = False,
    show: bool = False,
    quiet: bool = False,
) -> int:
    """Draws what is found in every picture and video of a source.

    Args:
        predictor: to use.
        source: see `grouppose.inference.sources.frames`.
        folder: receives drawn pictures, an mp4 for a video, and predictions.json.
        with_json: write that file, in COCO's format.
        show: also in a window.
        quiet: no progress bar and no summary.

    Returns:
        The exit code: 1 if a file could not be read.
    """
    from tqdm import tqdm

    folder.mkdir(parents=True, exist_ok=True)
    pictures = people = 0
    with Writer(folder, with_json) as writer:
        bar = tqdm(unit=" pictures", disable=quiet or not sys.stderr.isatty(), leave=False)
        for result in predictor(source):
            drawn = writer.add(result)
            pictures, people = pictures + 1, people + len(result)
            bar.update()
            if show and not _show(drawn):
                break
        bar.close()
    for path, reason in predictor.failed:
        sys.stderr.write(f"left out: {reason if path in reason else f'{path}: {reason}'}\n")
    if not quiet:
        views = f", {predictor.views} views of each" if predictor.views > 1 else ""
        print(f"{people} people in {pictures} pictures{views}; see {folder}")  # noqa: T201
    return 1 if predictor.failed else 0


class Writer:
    """Writes drawn pictures, one mp4 a video, and all people as COCO's JSON.

    Args:
        folder: that exists.
        with_json: also write predictions.json.
    """

    def __init__(self, folder: Path, with_json: bool) -> None:
        self.folder, self.with_json = folder, with_json
        self.images: list[dict[str, Any]] = []
        self.annotations: list[dict[str, Any]] = []
        self.names: list[str] | None = None
        self._video: Any = None
        self._video_of = ""
        self._taken: set[str] = set()

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: type | None, *rest: object) -> None:
        self._close_video()
        if self.with_json and kind is None:
            self._write_json()

    def add(self, result: Result) -> Any:
        """Draws a result, writes it, and gives the drawn picture (H, W, 3) RGB."""
        drawn = result.plot()
        if result.rate:
            self._frame(result, drawn)
        else:
            result.save(self.folder / self._free_name(result))
        self._note(result)
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

    def _frame(self, result: Result, drawn: Any) -> None:
        import cv2

        if self._video_of != result.path:
            self._close_video()
            path = self.folder / f"{Path(result.path).stem}.mp4"
            size = (drawn.shape[1], drawn.shape[0])
            code = cv2.VideoWriter_fourcc(*"mp4v")
            self._video = cv2.VideoWriter(str(path), code, result.rate, size)
            self._video_of = result.path
            if not self._video.isOpened():
                raise InputError(f"could not write {path}; this OpenCV writes no mp4")
        self._video.write(drawn[..., ::-1])

    def _close_video(self) -> None:
        if self._video is not None:
            self._video.release()
            self._video, self._video_of = None, ""

    def _note(self, result: Result) -> None:
        if not self.with_json:
            return
        self.names = list(result.skeleton.names)
        number = len(self.images) + 1
        height, width = result.keypoints.size
        image = {"id": number, "file_name": result.path, "height": height, "width": width}
        self.images.append({**image, "frame": result.frame})
        for person in result.to_coco(number):
            person["id"] = len(self.annotations) + 1
            person["num_keypoints"] = len(self.names)
            self.annotations.append(person)

    def _write_json(self) -> None:
        category = {"id": 1, "name": "person", "keypoints": self.names or []}
        content = {
            "images": self.images,
            "annotations": self.annotations,
            "categories": [category],
        }
        path = self.folder / "predictions.json"
        path.write_text(json.dumps(content), encoding="utf-8")


def _show(drawn: Any) -> bool:
    """Shows a picture; False when the user has had enough."""
    import cv2

    try:
        cv2.imshow("grouppose", drawn[..., ::-1])
        return cv2.waitKey(1) & 0xFF != ord("q")
    except cv2.error as error:
        raise InputError("--show needs a screen; leave it out, pictures are in --out") from error


def run_info(given: argparse.Namespace) -> int:
    """Prints what a file of weights holds."""
    from grouppose.checkpoints import read_checkpoint
    from grouppose.models import stored_settings
    from grouppose.skeleton import skeleton_of

    content = read_checkpoint(given.file)
    state = content["model"]
    count = sum(value.numel() for value in state.values())
    size = Path(given.file).stat().st_size / 1e6
    lines = [f"{given.file}: {count / 1e6:.2f} M numbers in {len(state)} tensors, {size:.1f} MB"]
    others = sorted(key for key in content if key not in ("model", "settings"))
    if others:
        lines.append(f"beside the weights: {', '.join(others)}")
    stored = stored_settings(content)
    skeleton = skeleton_of(stored["num_body_points"], stored.pop("skeleton", None))
    categories = stored.pop("categories", [])
    lines += [f"{key} = {value!r}" for key, value in stored.items()]
    lines += [f"keypoints: {', '.join(skeleton.names)}", f"sigmas: {list(skeleton.sigmas)}"]
    pairs = [f"{skeleton.names[a]} - {skeleton.names[b]}" for a, b in skeleton.flip_pairs]
    lines.append(f"mirroring exchanges: {', '.join(pairs) or 'nothing'}")
    lines += [f"class {i}: {name}" for i, (_, name) in enumerate(categories, start=1)]
    print("\n".join(lines))  # noqa: T201
    return 0


def run_doctor() -> int:
    """Prints versions and problems; returns 1 if there is a problem."""
    from grouppose.inference.doctor import examine

    lines, problems = examine()
    print("\n".join(lines))  # noqa: T201
    for problem in problems:
        print(f"! {problem}")  # noqa: T201
    if not problems:
        print("nothing to do")  # noqa: T201
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
