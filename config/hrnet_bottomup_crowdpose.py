"""HRNet-W32 bottom-up, CrowdPose: 300 epochs on 4 GPUs, 10 pictures each; published AP 64.9.

python -m util.crowdpose_concat_train_val DIR
torchrun --nproc_per_node=4 main.py -c config/hrnet_bottomup_crowdpose.py --coco_path DIR \
    --output_dir DIR --options pretrained_backbone=hrnet_w32-36af842e.pth
"""

_base_ = ["hrnet_bottomup.py"]

dataset_file = "crowdpose"
num_body_points = 14
epochs = 300
lr_drop = [200, 260]
batch_size = 10
recipe_batch = 40
