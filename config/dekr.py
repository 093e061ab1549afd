"""DEKR, HRNet-W32, COCO: 140 epochs on 4 GPUs, 10 pictures each; published AP 68.0.

torchrun --nproc_per_node=4 main.py -c config/dekr.py --coco_path DIR --output_dir DIR \
    --options pretrained_backbone=hrnet_w32-36af842e.pth
"""

modelname = "dekr"

# Data: a square of each picture, scaled, turned and moved
augmentation = "affine"
affine_size = 512
affine_scale = [0.75, 1.5]
affine_rotation = 30.0
affine_translation = 0.2
ignore_regions = "auto"
unlabelled_people = True  # their pictures are used; they have no centre
person_area = "corner"  # what offsets are weighted with, and their coefficient tuned to

# Training
optimizer = "adam"
lr = 1e-3
batch_size = 10  # per GPU
recipe_batch = 40
weight_decay = 0.0
epochs = 140
lr_schedule = "step"
lr_drop = [90, 120]
clip_max_norm = 0.0

# Network
backbone = "hrnet_w32"
pretrained_backbone = "imagenet"  # timm's download; a file, or None for random weights
num_body_points = 17

# Targets
sigma = 2.0  # of keypoints, in cells
centre_sigma = None  # 4, or 2 for fewer than 17 keypoints
radius = 4  # of the window of offsets around a centre, in cells
background = 0.1  # weight of cells that are in no window of the keypoint

# Losses
heatmaps_loss_coef = 1.0
offsets_loss_coef = 0.03

# People
flip_test = "auto"
max_people = 30
match_heatmaps = False  # True: keypoints move to peaks of their heatmaps
keypoint_threshold = 0.01
nms_threshold = 0.05  # the published test at three scales sets 0.15
nms_keypoints = None
scale_decrease = None
max_absorb_distance = 75.0
adjust_threshold = 0.05
gaussian_kernel = 6
gaussian_sigma = 2.0
