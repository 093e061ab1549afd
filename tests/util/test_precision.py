import torch

from util import precision

CPU = torch.device("cpu")


def test_precision_follows_the_device(monkeypatch, caplog):
    assert precision.choose_precision(CPU, amp=False) is None
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    assert precision.choose_precision(CPU, amp=True) is torch.bfloat16
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    monkeypatch.setattr(precision.logger, "propagate", True)
    assert precision.choose_precision(CPU, amp=True) is None
    assert "this CPU has no bfloat16 instructions" in caplog.text
    cuda = torch.device("cuda")
    for native, wanted in ((True, torch.bfloat16), (False, torch.float16)):
        monkeypatch.setattr(
            torch.cuda, "is_bf16_supported", lambda including_emulation, native=native: native
        )
        assert precision.choose_precision(cuda, amp=True) is wanted
