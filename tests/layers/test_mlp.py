import torch

from grouppose.layers.mlp import MLP, in_float32, in_pieces


def test_mlp_by_hand():
    mlp = MLP(1, 2, 1, 2)
    with torch.no_grad():
        mlp.layers[0].weight.copy_(torch.tensor([[1.0], [-1.0]]))
        mlp.layers[0].bias.zero_()
        mlp.layers[1].weight.fill_(1)
        mlp.layers[1].bias.fill_(0.5)
    assert mlp(torch.tensor([-3.0])).item() == 3.5  # |x| + 0.5
    assert mlp.zero_last()(torch.tensor([7.0])).item() == 0


def test_heads_compute_in_float32_under_autocast():
    torch.manual_seed(0)
    head, x = torch.nn.Linear(64, 2), torch.randn(3, 64)
    with torch.autocast("cpu", torch.bfloat16):
        out, rounded = in_float32(head, x), head(x)
    assert torch.equal(out, head(x))
    assert not torch.equal(out, rounded.float())


def test_pieces_are_small_and_make_the_same_whole(monkeypatch):
    monkeypatch.setattr("grouppose.layers.mlp._PIECE", 4)
    sizes = []

    def squared(tokens):
        sizes.append(len(tokens))
        return tokens**2

    tokens = torch.arange(30.0).view(2, 5, 3).requires_grad_()
    out = in_pieces(squared, tokens)
    assert torch.equal(out, tokens**2) and sizes == [4, 4, 2]
    recomputed = in_pieces(squared, tokens, recompute=True)
    recomputed.sum().backward()
    assert (
        torch.equal(tokens.grad, 2 * tokens) and len(sizes) == 3 + 2 * 3
    )  # forward, and again backward
