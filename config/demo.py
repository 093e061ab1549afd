"""A small Group Pose on drawn people, from random weights: minutes on 2 CPU cores.

OMP_NUM_THREADS=1 torchrun --nproc_per_node=2 main.py -c config/demo.py \
    --coco_path outputs/people --output_dir outputs/demo0 --amp
"""

_base_ = ["grouppose.py"]

# Data: drawn when the folder is empty; pictures keep their size, only the flip is left
dataset_file = "synthetic"
synthetic_train = 4000
synthetic_val = 200
synthetic_seed = 0
synthetic_size = 192
data_aug_scales = [192]
data_aug_max_size = 192
data_aug_scales2_resize = [192]
data_aug_scales2_crop = [192, 192]

# Network
backbone = "resnet18s"
pretrained_backbone = None
hidden_dim = 128
nheads = 4
dim_feedforward = 256
enc_layers = 2
dec_layers = 2
num_queries = 40  # few queries leave people without one near them, and learn slowly
num_select = 20

# Training
lr = 2.5e-4
lr_backbone = 5e-4
batch_size = 2
epochs = 3
lr_schedule = "cosine"
warmup_steps = 100
eval_every = 1
eval_batch_size = 8
save_checkpoint_interval = 100
