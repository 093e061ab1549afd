import pytest
import timm
import torch


@pytest.fixture(scope="package")
def timm_swin():
    """swin_T_224_1k of timm, with random weights."""
    torch.manual_seed(0)
    return timm.create_model(
        "swin_tiny_patch4_window7_224", strict_img_size=False, always_partition=True
    ).eval()  # shifts also where one window covers the map, as the published network does


@pytest.fixture
def published_state(timm_swin):
    """Its weights under the names of the Swin authors' files."""
    state = {}
    for name, value in timm_swin.state_dict().items():
        parts = name.split(".")
        if parts[0] == "layers" and parts[2] == "downsample":
            parts[1] = str(int(parts[1]) - 1)
        state[".".join(parts)] = value
    state["layers.0.blocks.1.attn_mask"] = torch.zeros(1)
    return state
