"""DEKR, HRNet-W32, CrowdPose: 300 epochs on 4 GPUs, 10 pictures each; published AP 65.7.

python -m util.crowdpose_concat_train_val DIR
torchrun --nproc_per_node=4 main.py -c config/dekr_crowdpose.py --coco_path DIR --output_dir DIR \
    --options pretrained_backbone=hrnet_w32-36af842e.pth
"""

_base_ = ["dekr.py"]

dataset_file = "crowdpose"
num_body_points = 14
epochs = 300
lr_drop = [200, 260]
