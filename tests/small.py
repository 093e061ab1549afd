"""Settings of a network that tests can afford; random weights."""

SMALL = {
    "backbone": "resnet18s",
    "hidden_dim": 64,
    "nheads": 2,
    "enc_layers": 1,
    "dec_layers": 2,
    "dim_feedforward": 16,
    "num_queries": 6,
    "num_body_points": 5,
}
