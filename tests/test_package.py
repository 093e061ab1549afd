"""The library as a package: what it imports."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ABOVE = {"datasets", "util", "main", "config", "benchmarks", "tests"}  # what may import the library


def imported_by(path: Path) -> set[str]:
    """Top-level names of all absolute imports of a file."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names


@pytest.mark.parametrize(
    ("folder", "forbidden"), [("grouppose", ABOVE), ("datasets", {"main"}), ("util", {"main"})]
)
def test_imports_point_one_way(folder, forbidden):
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files
    wrong = {str(file): found for file in files if (found := imported_by(file) & forbidden)}
    assert not wrong


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
