"""DEKR, HRNet-W48, COCO, 640 pixels: 140 epochs on 8 GPUs, 5 pictures each; published AP 71.0.

torchrun --nproc_per_node=8 main.py -c config/dekr_w48.py --coco_path DIR --output_dir DIR \
    --options pretrained_backbone=hrnetv2_w48_imagenet_pretrained.pth
"""

_base_ = ["dekr.py"]

backbone = "hrnet_w48"
affine_size = 640
batch_size = 5
