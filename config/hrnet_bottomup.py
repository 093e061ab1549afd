"""HRNet-W32 bottom-up, COCO: 140 epochs on 4 GPUs, 12 pictures each; published AP 67.8.

torchrun --nproc_per_node=4 main.py -c config/hrnet_bottomup.py --coco_path DIR --output_dir DIR \
    --options pretrained_backbone=hrnet_w32-36af842e.pth
"""

modelname = "hrnet_bottomup"

# Data: a square of each picture, scaled, turned and moved; people without labels have a centre
augmentation = "affine"
affine_size = 512
affine_scale = [0.75, 1.5]
affine_rotation = 30.0
affine_translation = 0.2
ignore_regions = "auto"
unlabelled_people = True
person_area = "box"  # offsets are weighted by its root

# Training
optimizer = "adam"
lr = 1e-3
batch_size = 12  # per GPU
recipe_batch = 48
weight_decay = 0.0
epochs = 140
lr_schedule = "step"
lr_drop = [90, 120]
clip_max_norm = 0.0

# Network
backbone = "hrnet_w32"
pretrained_backbone = "imagenet"  # timm's download; a file, or None for random weights
num_body_points = 17
higher = False  # also heatmaps at stride 2
regression_channels = 256

# Targets
sigma = 2.0  # of keypoints, in cells
centre_sigma = None  # 4, or 2 for fewer than 17 keypoints
radius = 4  # of the window of offsets around a centre, in cells
background = 0.1  # weight of cells that are in no keypoint's window
fine_background = 0.025

# Losses
heatmaps_loss_coef = 1.0
offsets_loss_coef = 0.01

# People
flip_test = "auto"
max_people = 30
match_heatmaps = True  # "final"; False: "regression"
keypoint_threshold = 0.01
nms_distance = 10.0
nms_keypoints = None
scale_decrease = 0.001
max_absorb_distance = 75.0
adjust_threshold = 0.05
gaussian_kernel = 6
gaussian_sigma = 2.0
exchanged_heat = True
