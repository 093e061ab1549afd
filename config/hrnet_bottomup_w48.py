"""HRNet-W48 bottom-up, COCO, 640 pixels: 140 epochs on 8 GPUs, 12 each; published AP 70.1.

torchrun --nproc_per_node=8 main.py -c config/hrnet_bottomup_w48.py --coco_path DIR \
    --output_dir DIR --options pretrained_backbone=hrnetv2_w48_imagenet_pretrained.pth
"""

_base_ = ["hrnet_bottomup.py"]

backbone = "hrnet_w48"
affine_size = 640
recipe_batch = 96
