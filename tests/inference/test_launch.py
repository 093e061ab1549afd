import os
import subprocess
import sys
from pathlib import Path

import pytest

from grouppose.errors import InputError
from grouppose.inference import launch
from grouppose.inference.cli import main

ROOT = Path(__file__).parents[2]


def test_a_checkout_has_the_launcher_beside_the_package():
    assert launch.folder() == ROOT


def test_what_is_missing_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(launch, "_NEEDED", ("torch", "nonsense"))
    with pytest.raises(InputError, match=r"train needs nonsense; pip install 'grouppose\[train\]'"):
        launch.launch("train", [])
    monkeypatch.setattr(launch, "_PLACES", (tmp_path,))
    with pytest.raises(InputError, match="this installation lacks main.py"):
        launch.launch("train", [])


def test_eval_is_main_with_eval(capsys, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    with pytest.raises(SystemExit):
        main(["eval", "-c", "demo"])
    assert "--eval without weights; give --resume FILE" in capsys.readouterr().err
    assert sys.path[0] == str(ROOT)


def test_a_built_package_brings_the_launcher_and_finds_configs_by_name(tmp_path):
    """Elsewhere, where neither the checkout nor its folders are to be found."""
    environment = {**os.environ, "GROUPPOSE_BUILD": "none", "PYTHONPATH": str(tmp_path / "built")}
    build = [sys.executable, "setup.py", "-q", "build_py", "--build-lib", str(tmp_path / "built")]
    subprocess.run(build, cwd=ROOT, env=environment, check=True, capture_output=True)
    (tmp_path / "empty").mkdir()
    command = (
        "from grouppose.inference.cli import main\n"
        "for config in ('demo', 'config/demo.py', 'dmeo'):\n"
        "    main(['eval', '-c', config, '--resume', 'none.pth', '--device', 'cpu'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", command],
        cwd=tmp_path / "empty",
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.stderr.splitlines() == [
        "error: no file none.pth, expected a checkpoint; check the path",
        "error: no file none.pth, expected a checkpoint; check the path",
        "error: no config file dmeo; check the path",
    ]
