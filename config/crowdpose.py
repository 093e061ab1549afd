"""Group Pose, ResNet-50, CrowdPose: 80 epochs on 8 GPUs, 2 pictures each.

python -m util.crowdpose_concat_train_val DIR
torchrun --nproc_per_node=8 main.py -c config/crowdpose.py --coco_path DIR --output_dir DIR
"""

_base_ = ["grouppose.py"]

dataset_file = "crowdpose"
num_body_points = 14
epochs = 80
lr_drop = 70
