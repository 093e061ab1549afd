import torch

from grouppose.layers.group_attention import SelfAttention, attend_across, attend_within


def test_attention_equals_torchs_module():
    torch.manual_seed(0)
    reference = torch.nn.MultiheadAttention(32, 4, batch_first=True)
    mine = SelfAttention(32, 4)
    mine.load_state_dict(reference.state_dict())
    x = torch.randn(3, 7, 32)
    torch.testing.assert_close(mine(x), reference(x, x, x)[0])


def test_groups_do_not_see_one_another():
    torch.manual_seed(0)
    attention = SelfAttention(16, 2)
    tokens = torch.randn(1, 3, 4, 16)  # 3 people of 4 queries
    changed = tokens.clone()
    changed[0, 1, 2] += 1
    moved = (attend_within(attention, tokens) != attend_within(attention, changed)).any(-1)[0]
    assert moved.nonzero()[:, 0].unique().tolist() == [1]  # that person alone
    moved = (attend_across(attention, tokens) != attend_across(attention, changed)).any(-1)[0]
    assert moved.nonzero()[:, 1].unique().tolist() == [2]  # that type alone


def test_attention_under_bf16_autocast_stays_near_fp32():
    torch.manual_seed(0)
    attention = SelfAttention(32, 4)
    x = torch.randn(2, 5, 32)
    with torch.autocast("cpu", torch.bfloat16):
        out = attention(x)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), attention(x), rtol=0.1, atol=0.05)
