"""Group Pose, ResNet-50, COCO: 60 epochs on 8 GPUs, 2 pictures each (about 40 hours on A100).

python -m torch.distributed.launch --nproc_per_node=8 --master_port 29579 main.py \
    -c config/grouppose.py --coco_path DIR --output_dir DIR
"""

_base_ = ["coco_transformer.py"]

modelname = "grouppose"

# Training
optimizer = "adamw"
lr = 1e-4
lr_backbone = 1e-5
lr_backbone_names = ["backbone.0"]
batch_size = 2  # per GPU
recipe_batch = 16
weight_decay = 1e-4
epochs = 60
lr_schedule = "step"
lr_drop = 50
save_checkpoint_interval = 10
clip_max_norm = 0.1
use_ema = False
ema_decay = 0.9997
ema_epoch = 0

# Backbone
backbone = "resnet50"
pretrained_backbone = "imagenet"  # torchvision's download; a file, or None for random weights
use_checkpoint = False  # recompute in the backward pass: less memory, slower
dilation = False

# Transformer
hidden_dim = 256
nheads = 8
num_queries = 100
num_feature_levels = 4
enc_layers = 6
dec_layers = 6
enc_n_points = 4
dec_n_points = 4
dim_feedforward = 2048
dropout = 0.0
pe_temperatureH = 20
pe_temperatureW = 20

# People
num_classes = 2
num_body_points = 17
num_select = 50

# Matching and losses
aux_loss = True
set_cost_class = 2.0
set_cost_keypoints = 10.0
set_cost_oks = 4.0
cls_loss_coef = 2.0
keypoints_loss_coef = 10.0
oks_loss_coef = 4.0
interm_loss_coef = 1.0
aux_matches = 1  # queries per person in all heads but the last layer's
focal_alpha = 0.25
