"""Memorises a few pictures, from random weights: a check that data, model, losses and evaluation
of a data set agree. Half an hour on 2 CPU cores.

    python main.py -c config/overfit.py --coco_path DIR --output_dir outputs/overfit --amp
"""

_base_ = ["grouppose.py"]

subset = 16  # the first training pictures with people; evaluation uses the same ones
data_aug_scales = [192]
data_aug_max_size = 288
data_aug_scales2_resize = [192]
data_aug_scales2_crop = [2000, 2000]  # at least the whole picture: no crop

# Network
backbone = "resnet18s"
pretrained_backbone = None
hidden_dim = 128
nheads = 4
dim_feedforward = 256
enc_layers = 2
dec_layers = 3
num_queries = 40
num_select = 40

# Matching and losses: as in demo.py
set_cost_class = 20.0
cls_loss_coef = 8.0
oks_loss_coef = 12.0
aux_matches = 3

# Training
lr = 4e-4
lr_backbone = 1e-3
batch_size = 2
recipe_batch = 2
epochs = 800
lr_schedule = "cosine"
warmup_steps = 200
eval_every = 50
save_checkpoint_interval = 1000
