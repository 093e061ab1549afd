"""What all tests share."""

import sys

import pytest
import torch

from grouppose import models


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """Tests, and the processes that they start, leave nothing in the home folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def one_thread():
    """Sums do not depend on the number of threads then, and small runs are faster."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


OTHER = """
from types import SimpleNamespace
from torch import nn

def build_model(*, num_body_points=17, width=3):
    return nn.Linear(width, num_body_points)

published = SimpleNamespace(
    TITLE="Other",
    recognises=lambda state: "other.weight" in state or "weight" in state,
    library_names=lambda state: {k.removeprefix("other."): v for k, v in state.items()},
    infer_settings=lambda state: dict(
        zip(("num_body_points", "width"), state["weight"].shape, strict=True)
    ),
)
"""


@pytest.fixture
def other(tmp_path, monkeypatch):
    """A second family, of one linear layer, in a folder elsewhere."""
    folder = tmp_path / "families" / "other"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text(OTHER)
    monkeypatch.setattr(models, "__path__", [*models.__path__, str(folder.parent)])
    yield "other"
    sys.modules.pop("grouppose.models.other", None)
    vars(models).pop("other", None)
