import pytest
import torch

import grouppose
from datasets.settings import DEFAULTS
from grouppose.errors import InputError
from tests.small import SMALL
from util import config, memory


@pytest.mark.parametrize("limit", [0, 1, 2, 3, 7, 8, 100, 255, 256, 1000])
def test_the_largest_that_fits(limit):
    asked = []

    def fits(pictures: int) -> bool:
        asked.append(pictures)
        return pictures <= limit

    assert memory.largest(fits) == min(limit, 256)
    assert len(asked) <= 17 and len(set(asked)) == len(asked)


def test_a_step_of_the_largest_size_trains():
    model = grouppose.build_model("grouppose", **SMALL)
    criterion = grouppose.build_criterion("grouppose", num_body_points=5)
    settings = {
        "modelname": "grouppose",
        "data_aug_scales": [32, 64],
        "data_aug_max_size": 96,
        "data_aug_scale_overlap": None,
        "data_aug_scales2_resize": [32],
        "data_aug_scales2_crop": [32, 32],
        "augmentation": "crop",
        "affine_size": 80,
        "affine_scale": [1.0, 1.0],
        "affine_rotation": 0.0,
        "affine_translation": 0.0,
        "num_body_points": 5,
    }
    seen = []
    model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape))
    memory._try_step(model, criterion, settings, 2, torch.device("cpu"), None)
    assert seen == [(2, 3, 64, 96)]
    assert all(p.grad is not None for p in model.input_proj.parameters())
    settings["augmentation"] = "affine"
    memory._try_step(model, criterion, settings, 1, torch.device("cpu"), None)
    assert seen[1] == (1, 3, 80, 80)


def test_on_a_cpu_a_number_is_needed():
    assert config.load_config(DEFAULTS, ["batch_size=auto"]).batch_size == "auto"
    with pytest.raises(InputError, match="run is on the CPU; give a number, such as batch_size=2"):
        memory.fitting_batch(None, None, {}, torch.device("cpu"), None)


@pytest.mark.parametrize(
    "error",
    [MemoryError(), RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")],
)
def test_memory_of_a_cpu_runs_out_too(error):
    parts = [(torch.zeros(1, 3, 40, 60), None, [])]
    message = "1 pictures padded to 40 x 60; .* batch_size=1 accumulate=3; or smaller data_aug_scal"
    with pytest.raises(InputError, match=message), memory.explained(parts, 3, torch.device("cpu")):
        raise error


def test_other_errors_stay_what_they_are():
    with pytest.raises(RuntimeError, match="shapes"), memory.explained([], 1, torch.device("cpu")):
        raise RuntimeError("shapes")
