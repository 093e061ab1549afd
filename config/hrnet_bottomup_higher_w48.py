"""The same with heatmaps at stride 2: 140 epochs on 8 GPUs, 12 pictures each; published AP 71.3.

torchrun --nproc_per_node=8 main.py -c config/hrnet_bottomup_higher_w48.py --coco_path DIR \
    --output_dir DIR --options pretrained_backbone=hrnetv2_w48_imagenet_pretrained.pth
"""

_base_ = ["hrnet_bottomup_w48.py"]

higher = True
