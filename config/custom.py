"""Group Pose, ResNet-50, for any keypoints in COCO's format: see docs/datasets.md.

python main.py -c config/custom.py --coco_path DIR --output_dir DIR
"""

_base_ = ["grouppose.py"]

dataset_file = "custom"  # number of keypoints and classes, names, limbs: those of the annotations
