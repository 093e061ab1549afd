"""The library as a package: what it imports."""

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# what may import what: itself and those before it; "" is all of grouppose that is not named
ORDER = ("", "grouppose.models", "grouppose.inference", "grouppose", "datasets", "util", "main")
COMMANDS = {"grouppose.checkpoints.__main__"}  # the address of a command that has moved


def modules(root: Path) -> dict[str, Path]:
    """The files of the project by the names that they are imported by."""
    files = [root / "main.py"]
    files += [
        file for name in ("grouppose", "datasets", "util") for file in root.glob(f"{name}/**/*.py")
    ]
    dotted = {".".join(file.relative_to(root).with_suffix("").parts): file for file in files}
    return {name.removesuffix(".__init__"): file for name, file in dotted.items()}


def statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """What runs when a file is imported: not what functions import when they are called."""
    for node in body:
        yield node
        if isinstance(node, ast.Try):
            yield from statements([*node.body, *node.orelse, *node.finalbody])
        elif isinstance(node, ast.If) and ast.unparse(node.test) != "TYPE_CHECKING":
            yield from statements([*node.body, *node.orelse])


def imported(file: Path, known: Iterable[str]) -> set[str]:
    """Modules of the project that a file imports when it is imported itself."""
    names = set()
    for node in statements(ast.parse(file.read_text()).body):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} has a relative import"
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {name if name in known else node.module for name in whole}
    return names & set(known)


def arrows(root: Path) -> dict[str, set[str]]:
    found = modules(root)
    return {name: imported(file, found) - {name} for name, file in found.items()}


def place(name: str) -> int:
    """Of a module in `ORDER`."""
    if name == "grouppose":
        return ORDER.index(name)
    inside = ".".join(name.split(".")[:2]) if name.startswith("grouppose.") else name.split(".")[0]
    return ORDER.index(inside) if inside in ORDER else 0


def upward(graph: Mapping[str, set[str]]) -> list[str]:
    """Imports of what stands above."""
    return [
        f"{name} imports {other}"
        for name, others in graph.items()
        for other in others
        if place(other) > place(name) and name not in COMMANDS
    ]


def rooms(graph: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """The same arrows between the parts of the library, such as layers and ops."""

    def room(name: str) -> str:
        return ".".join(name.split(".")[:2])

    between: dict[str, set[str]] = {}
    for name, others in graph.items():
        if name not in COMMANDS:
            between.setdefault(room(name), set()).update({room(o) for o in others} - {room(name)})
    return between


def circle(graph: Mapping[str, set[str]]) -> list[str]:
    """Modules that import each other in a ring; [] if there are none."""
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return error.args[1]
    return []


@pytest.mark.parametrize(
    ("folder", "forbidden"),
    [
        ("grouppose", {"datasets", "util", "main", "config", "benchmarks", "tests"}),
        ("datasets", {"util", "main", "config", "benchmarks", "tests"}),
        ("util", {"main", "benchmarks", "tests"}),
    ],
)
def test_no_function_imports_from_above_either(folder, forbidden):
    """The library installs alone."""
    wrong, files = [], list((ROOT / folder).rglob("*.py"))
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            wrong += [(file, name) for name in names if name.partition(".")[0] in forbidden]
    assert files and not wrong


A, B = "grouppose/a.py", "grouppose/b.py"
RING = {"grouppose.a", "grouppose.b"}
INFERENCE = "grouppose/inference/a.py"


@pytest.mark.parametrize(
    ("texts", "wrong", "ring"),
    [
        ({A: "import grouppose.b", B: "x = 1"}, [], set()),
        ({A: "from grouppose import b", B: "import grouppose.a"}, [], RING),
        ({A: "def f():\n    import grouppose.b", B: "import grouppose.a"}, [], set()),
        ({A: "if TYPE_CHECKING:\n    import grouppose.b", B: "import grouppose.a"}, [], set()),
        ({"datasets/a.py": "import util.b", "util/b.py": ""}, ["datasets.a imports util.b"], set()),
        ({"util/a.py": "import main"}, ["util.a imports main"], set()),
        ({A: "try:\n    import grouppose.models\nfinally:\n    x = 1"},
         ["grouppose.a imports grouppose.models"], set()),
        ({"grouppose/models/b.py": "from grouppose.inference import a", INFERENCE: ""},
         ["grouppose.models.b imports grouppose.inference.a"], set()),
    ],
)  # fmt: skip
def test_what_points_elsewhere_is_found(tmp_path, texts, wrong, ring):
    for name in ("main.py", "grouppose/__init__.py", "grouppose/models/__init__.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    graph = arrows(tmp_path)
    assert upward(graph) == wrong
    assert set(circle(graph)) == set(circle(rooms(graph))) == ring


@pytest.mark.parametrize("also", ["", "grouppose.Predictor(demo.WEIGHTS)(demo.PICTURE)"])
def test_importing_the_library_and_predicting_imports_nothing_slow(also):
    slow = ("torchvision", "timm", "torch._dynamo", "scipy.optimize", "matplotlib")
    code = (
        "import sys, torch\n"
        "before = set(sys.modules)\n"
        "import grouppose\n"
        "from grouppose import demo\n"
        f"{also}\n"
        f"print([name for name in {slow} if name in sys.modules and name not in before])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
