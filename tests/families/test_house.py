"""Nothing outside a family's own files names it, its settings or what it imports."""

import ast

import pytest

from datasets.settings import DEFAULTS, read_file
from grouppose.models import known_settings
from tests.families.contract import FAMILIES, ROOT

# what the house asks of every family, as far as it has it
ASKED = {
    "backbone",
    "pretrained_backbone",
    "use_checkpoint",
    "max_people",
    "test_longest",
    "everybody",
}
# the package offered it before there were other families
KEPT = ("postprocess", "postprocess.postprocess")
PACKAGE = "grouppose"  # the name of the first family, too
ELSEWHERE = [ROOT / "main.py", DEFAULTS, *(ROOT / "util").glob("*.py")]
ELSEWHERE += [*(ROOT / "datasets").rglob("*.py"), *(ROOT / "grouppose").rglob("*.py")]


def words(path):
    """Modules that a file imports, and its strings, but for its docstrings."""
    imported, strings = set(), set()
    tree = ast.parse(path.read_text())
    texts = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            imported |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            strings |= {node.value} if id(node) not in texts else set()
    return imported, strings


def own(path, name):
    """Whether a file is the family's, or another family's: these may use one another openly."""
    folder = ROOT / "grouppose" / "models"
    return folder in path.parents and path.parent != folder


@pytest.mark.parametrize("name", FAMILIES)
def test_no_file_of_the_house_names_a_family_or_its_settings(name):
    settings = known_settings(name).keys() - read_file(DEFAULTS).keys() - ASKED
    assert settings
    module = f"grouppose.models.{name}"
    wrong = []
    for path in ELSEWHERE:
        if own(path, name):
            continue
        imported, strings = words(path)
        found = {each for each in imported if each == module or each.startswith(f"{module}.")}
        found |= strings & (settings | ({name} - {PACKAGE}))
        if path == ROOT / "grouppose" / "__init__.py":
            found -= {f"grouppose.models.grouppose.{kept}" for kept in KEPT}
        wrong += [f"{path.relative_to(ROOT)}: {sorted(found)}"] if found else []
    assert wrong == []
