"""setup.py on machines that lack something, and the CUDA sources under the compiler."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
DATA = {
    "grouppose/demo/people.safetensors",
    "grouppose/demo/people.png",
    "grouppose/demo/README.md",
    "grouppose/inference/page.css",
    "grouppose/skeletons/coco.json",
}
COMPILER = next((c for c in ("c++", "g++", "clang++") if shutil.which(c)), None)


@pytest.fixture
def tree(tmp_path):
    """A copy of what setup.py reads: the build writes beside it."""
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE", "MANIFEST.in", "main.py"):
        shutil.copy(ROOT / name, tmp_path / name)
    ignored = shutil.ignore_patterns("*.so", "__pycache__")
    for name in ("grouppose", "config", "datasets", "util"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
    return tmp_path


def setup(folder, *arguments, **environment):
    """Runs setup.py; an empty string removes a variable."""
    merged = {**os.environ, "FORCE_CUDA": "", "GROUPPOSE_BUILD": "", **environment}
    return subprocess.run(
        [sys.executable, "setup.py", "-q", *arguments],
        cwd=folder, env=merged, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


def built(folder):
    return sorted(path.name for path in (folder / "grouppose/ops").glob("*.so"))


def empty_path(folder):
    """A PATH with no compiler on it."""
    (folder / "bin").mkdir()
    return str(folder / "bin")


def test_no_compiler_builds_nothing_and_says_so(tree):
    result = setup(tree, "build_ext", "--inplace", PATH=empty_path(tree), CXX="", CUDA_HOME="")
    assert result.returncode == 0, result.stderr
    assert "no CPU kernels, the slow reference will run instead: there is no C++" in result.stdout
    assert built(tree) == []


def test_none_asked_for(tree):
    result = setup(tree, "build_ext", "--inplace", GROUPPOSE_BUILD="none")
    assert result.returncode == 0, result.stderr
    assert "GROUPPOSE_BUILD=none: no kernels are built" in result.stdout
    assert built(tree) == []


def test_an_unknown_wish_is_refused(tree):
    result = setup(tree, "build_ext", "--inplace", GROUPPOSE_BUILD="gpu")
    assert result.returncode
    assert "GROUPPOSE_BUILD=gpu; expected cpu, cuda or none" in result.stderr


def test_cuda_insisted_on_but_impossible_fails(tree):
    """CUDA kernels with a C++ compiler that is not there."""
    result = setup(
        tree, "build_ext", "--inplace", FORCE_CUDA="1", PATH=empty_path(tree), CXX="nowhere"
    )
    assert result.returncode
    assert "CUDA kernels were asked for, but" in result.stderr


def test_without_torch_the_command_is_named(tree):
    (tree / "torch.py").write_text("raise ModuleNotFoundError(name='torch')\n")
    result = setup(tree, "build_ext", "--inplace", PYTHONPATH=str(tree))
    assert result.returncode
    assert "pip install --no-build-isolation ." in result.stderr


def test_an_old_setuptools_is_named(tree):
    """As a fresh virtual environment of Python 3.10 or 3.11 has it."""
    commands = tree / "setuptools/command"
    commands.mkdir(parents=True)
    (tree / "setuptools/__init__.py").write_text("Extension = setup = None; __version__ = '65.5'\n")
    (commands / "__init__.py").touch()
    (commands / "build_ext.py").write_text("build_ext = object\n")
    (commands / "build_py.py").write_text("build_py = object\n")
    result = setup(tree, "build_ext", "--inplace", PYTHONPATH=str(tree))
    assert result.returncode
    assert "found setuptools 65.5, too old" in result.stderr
    assert 'pip install "setuptools>=77"' in result.stderr and "Traceback" not in result.stderr


def test_a_broken_compiler_does_not_fail_the_installation(tree):
    broken = tree / "broken"
    broken.write_text("#!/bin/sh\necho 'error: broken today' >&2\nexit 1\n")
    broken.chmod(0o755)
    result = setup(tree, "build_ext", "--inplace", GROUPPOSE_BUILD="cpu", CXX=str(broken))
    assert result.returncode == 0, result.stderr
    assert "no CPU kernels" in result.stdout
    assert "broken today" in result.stdout


def test_source_distribution_holds_the_sources(tree):
    result = setup(tree, "sdist", "--formats=gztar")
    assert result.returncode == 0, result.stderr
    (archive,) = (tree / "dist").glob("*.tar.gz")
    shutil.unpack_archive(archive, tree / "unpacked")
    (root,) = (tree / "unpacked").iterdir()
    expected = {p.relative_to(ROOT) for p in (ROOT / "grouppose/ops/csrc").rglob("*.*")}
    assert expected == {p.relative_to(root) for p in (root / "grouppose/ops/csrc").rglob("*.*")}
    assert (root / "setup.py").exists()
    assert DATA <= {str(p.relative_to(root)) for p in (root / "grouppose").rglob("*")}


def test_wheel_holds_the_data_and_no_sources_of_tests(tree):
    result = setup(tree, "bdist_wheel", GROUPPOSE_BUILD="none")
    assert result.returncode == 0, result.stderr
    (wheel,) = (tree / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {name.rpartition(".data/platlib/")[2] for name in archive.namelist()}
    assert DATA <= names and not [name for name in names if name.startswith("tests/")]


@pytest.mark.skipif(COMPILER is None, reason="no C++ compiler")
def test_every_cpu_source_compiles_without_warnings():
    include = Path(torch.__file__).parent / "include"
    for source in (ROOT / "grouppose/ops/csrc/cpu").glob("*.cpp"):
        result = subprocess.run(
            [COMPILER, "-std=c++20", "-fsyntax-only", "-Wall", "-Wextra", "-Wno-psabi",
             "-fvisibility=hidden", "-DTORCH_TARGET_VERSION=0x020b000000000000",
             f"-isystem{include}", source],
            capture_output=True, text=True,
        )  # fmt: skip
        assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="no nvcc")
@pytest.mark.parametrize("source", ["forward.cu", "backward.cu"])
def test_cuda_sources_compile(source, tmp_path):
    """For the oldest GPU and the newest; CUDA_TEST_ARCHITECTURES=80,90,... compiles for others."""
    for architecture in os.environ.get("CUDA_TEST_ARCHITECTURES", "75,120").split(","):
        result = subprocess.run(
            ["nvcc", "-std=c++20", "-Werror", "all-warnings", f"-arch=sm_{architecture}", "-cubin",
             ROOT / "grouppose/ops/csrc/cuda" / source, "-o", tmp_path / "out.cubin"],
            capture_output=True, text=True,
        )  # fmt: skip
        assert result.returncode == 0, result.stdout + result.stderr
