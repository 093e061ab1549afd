"""The command `grouppose`: poses from pictures and videos, and what there is to know about it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from grouppose.commands import Parser, exit_status
from grouppose.inference.options import DTYPES, argument
from grouppose.version import __version__

_WEIGHTS = "checkpoint; without it the demo's, which knows drawn people only"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if arguments[:1] in (["train"], ["eval"]):  # main.py has its own parser
        from grouppose.inference.launch import launch

        return exit_status(lambda: launch(arguments[0], arguments[1:]))
    if arguments[:1] == ["help"]:
        arguments = [*arguments[1:2], "--help"]
    given = _parser().parse_args(arguments)
    return exit_status(lambda: given.run(given))


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="grouppose", description=__doc__.partition("\n")[0])
    parser.add_argument("--version", action="version", version=f"grouppose {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    _add_predict(commands.add_parser("predict", help="find and draw people's poses"))

    commands.add_parser("train", help="train a model; grouppose train --help lists its options")
    commands.add_parser("eval", help="score a model; the same options, with --resume FILE")

    export = commands.add_parser("export", help="write a model as ONNX or for torch.export")
    export.set_defaults(run=run_export)
    add = export.add_argument
    add("--weights", required=True, metavar="FILE", help="checkpoint")
    add("--format", choices=("onnx", "torch-export"), default="onnx")
    add("--attention", choices=("grid_sample", "gather"), default="grid_sample",
        help="deformable attention as these operators; gather for TensorRT")  # fmt: skip
    add("--size", nargs=2, type=int, metavar=("H", "W"), help="of pictures, in pixels")
    add(
        "--dynamic",
        action="store_true",
        help="any number of pictures, of any size (Swin: one size)",
    )
    add("--max-people", type=int, default=50, metavar="N", help="people given per picture")
    add("--pictures", nargs="+", default=[], metavar="FILE", help="to compare on; else made ones")
    add("--out", type=Path, metavar="FILE", help="default: the checkpoint's name, here")
    add("--quiet", action="store_true", help="only the report")

    _add_serve(commands.add_parser("serve", help="a web page and a JSON API that find poses"))

    info = commands.add_parser("info", help="what a file of weights, or an exported one, holds")
    info.set_defaults(run=run_info)
    info.add_argument("file", metavar="FILE")

    convert = commands.add_parser("convert", help="rewrite a file of weights: ours, published")
    convert.set_defaults(run=run_convert)
    add = convert.add_argument
    add("source", metavar="IN", help="checkpoint, ours or published")
    add("target", type=Path, metavar="OUT", help="file to write")
    add("--to", choices=("own", "published"), default="own")
    add("--dtype", choices=("float16", "bfloat16", "float32"), help="of all weights")

    published = commands.add_parser("weights", help="published checkpoints, and how to fetch them")
    published.set_defaults(run=lambda given: run_weights())

    doctor = commands.add_parser("doctor", help="what is installed here and what is missing")
    doctor.set_defaults(run=lambda given: run_doctor())
    return parser


def _add_predict(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=run_predict)
    add = parser.add_argument
    sources = "picture, video, folder, pattern, address (http, rtsp) or a camera's number"
    add("source", nargs="+", help=sources)
    add("--weights", metavar="FILE", help=_WEIGHTS)
    add("--out", type=_folder, default=Path("predictions"), metavar="DIR", help="what is drawn")
    add("--json", action="store_true", help="also write DIR/predictions.json in COCO's format")
    add("--csv", action="store_true", help="also write DIR/predictions.csv, a line a keypoint")
    add("--track", action="store_true", help="keep people's numbers through videos and pictures")
    add("--show", action="store_true", help="show pictures in a window; q ends")
    number = _numbers(parser)
    number("--threshold", default=0.3, help="least score of a person")
    number("--max-people", default=50, metavar="N", help="of a picture, the best")
    number("--suppress", metavar="OKS", help="leave out the weaker of two people so alike")
    number("--size", metavar="PIXELS", help="shorter side to resize to")
    number("--longest", metavar="PIXELS", help="limit of the longer side")
    number("--scales", nargs="+", default=[], metavar="PIXELS", help="look at each, merge")
    add("--flip-test", action="store_true", help="also look at mirrored pictures; twice the time")
    number("--batch-size", default=8, metavar="N", help="pictures computed together")
    number("--max-megapixels", metavar="N", help="larger pictures are refused; default: 179")
    add("--rescore", metavar="FILE", help="of main.py --train_rescore")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1, ...")
    add("--dtype", choices=DTYPES, default="float32", help="float32, bfloat16 or float16")
    add("--quiet", action="store_true", help="no progress, no line a picture and no summary")


def _folder(text: str) -> Path:
    if not text:  # as of a shell's variable that nobody set
        raise argparse.ArgumentTypeError("it is empty, expected a folder; . is this one")
    return Path(text)


def _numbers(parser: argparse.ArgumentParser) -> Callable[..., object]:
    """`add_argument` for a number that `Predictor` takes under the same name, checked alike."""

    def add(flag: str, **about: Any) -> object:
        name = flag.lstrip("-").replace("-", "_")
        return parser.add_argument(flag, type=argument(name), **about)

    return add


def _add_serve(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=run_serve)
    add = parser.add_argument
    add("--weights", metavar="FILE", help=_WEIGHTS)
    add("--host", default="127.0.0.1", help="0.0.0.0: everybody in the network may use the page")
    add("--port", type=int, default=7860, help="0: any that is free")
    _numbers(parser)("--threshold", default=0.3, help="where the slider begins")
    _numbers(parser)("--size", metavar="PIXELS", help="shorter side to resize to")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1, ...")
    add("--dtype", choices=DTYPES, default="float32", help="float32, bfloat16 or float16")
    add("--max-megabytes", type=float, default=20, help="of a file")
    add("--max-megapixels", type=float, default=40, help="of a picture")
    add("--max-seconds", type=float, default=20, help="of a video")
    add("--max-waiting", type=int, default=32, help="requests in the queue; more are refused")


def _weights(given: argparse.Namespace) -> tuple[str | Path, str]:
    """The weights that were asked for, or the demo's and what there is to know about them."""
    from grouppose import demo

    return (given.weights, "") if given.weights else (demo.WEIGHTS, demo.NOTE)


def _shared(given: argparse.Namespace) -> dict[str, Any]:
    """What `predict` and `serve` both tell the predictor."""
    return {name: getattr(given, name) for name in ("device", "dtype", "threshold", "size")}


def run_serve(given: argparse.Namespace) -> int:
    """Serves the web page until it is stopped."""
    from grouppose.inference.predictor import Predictor
    from grouppose.inference.uploads import Limits
    from grouppose.inference.web import serve

    limits = Limits(given.max_megabytes, given.max_megapixels, given.max_seconds, given.max_waiting)
    weights, note = _weights(given)
    predictor = Predictor(weights, **_shared(given))
    if note:
        sys.stderr.write(f"{note}\n")
    serve(predictor, given.host, given.port, limits, note)
    return 0


def run_predict(given: argparse.Namespace) -> int:
    """Predicts with a checkpoint; see `predict_into`."""
    from grouppose.inference.predicting import Job, predict_into
    from grouppose.inference.predictor import Predictor
    from grouppose.inference.reading import silence
    from grouppose.inference.sources import camera_or_path

    names = ("max_people", "suppress", "longest", "scales", "flip_test", "batch_size", "rescore")
    more = {name: getattr(given, name) for name in (*names, "max_megapixels")}
    weights, note = _weights(given)
    sources = [camera_or_path(source) for source in given.source]
    job = Job(
        sources if len(sources) > 1 else sources[0],
        given.out,
        json=given.json,
        csv=given.csv,
        show=given.show,
        quiet=given.quiet,
        note=note,
    )
    silence()
    more["tracker"] = "oks" if given.track else None
    return predict_into(job, lambda: Predictor(weights, **_shared(given), **more))


def run_export(given: argparse.Namespace) -> int:
    """Writes a model as a file for other programs, after comparing the two."""
    from grouppose.files import check_file, folder_for_results
    from grouppose.inference.export import FORMATS, export_model

    path = given.out or Path(Path(given.weights).stem + FORMATS[given.format])
    with folder_for_results(path.parent, "--out"):
        check_file(path, [given.weights, *given.pictures], "--out")
        report = export_model(
            given.weights,
            path,
            form=given.format,
            attention=given.attention,
            size=given.size,
            dynamic=given.dynamic,
            pictures=given.pictures,
            max_people=given.max_people,
            say=lambda line: None if given.quiet else sys.stderr.write(f"{line} ...\n"),
        )
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB; {report}")  # noqa: T201
    return 0


def run_info(given: argparse.Namespace) -> int:
    """Prints what a file holds."""
    from grouppose.inference.info import describe

    print("\n".join(describe(given.file)))  # noqa: T201
    return 0


def run_weights() -> int:
    """Prints what checkpoints there are, and how to fetch them."""
    from grouppose.inference.weights import listing

    print("\n".join(listing()))  # noqa: T201
    return 0


def run_convert(given: argparse.Namespace) -> int:
    """Rewrites a file of weights."""
    from grouppose.files import check_file
    from grouppose.inference.convert import convert

    check_file(given.target, [given.source], "OUT")
    print(convert(given.source, given.target, given.to, given.dtype))  # noqa: T201
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
