"""A narrow HRNet bottom-up on drawn people, from random weights (AP not measured yet).

python main.py -c config/hrnet_demo.py --coco_path outputs/people --output_dir outputs/hrnet0 --amp
"""

_base_ = ["hrnet_bottomup.py"]

# Data: drawn when the folder is empty
dataset_file = "synthetic"
synthetic_train = 7500
synthetic_val = 200
synthetic_seed = 0
synthetic_size = 192
affine_size = 192
affine_scale = [0.9, 1.2]
affine_rotation = 15.0
affine_translation = 0.1

# Network
backbone = "hrnet_w18_small"
pretrained_backbone = None
regression_channels = 32

# Training
lr = 2e-3
batch_size = 8
recipe_batch = 8
epochs = 1
lr_schedule = "cosine"
lr_drop = []
warmup_steps = 50
eval_every = 1
save_checkpoint_interval = 100
