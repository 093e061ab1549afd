"""Group Pose, ResNet-50, on OCHuman's test pictures; `--dataset_file ochuman_val` for the others.

python main.py -c config/ochuman.py --coco_path DIR --resume FILE_TRAINED_ON_COCO --eval
"""

_base_ = ["grouppose.py"]

dataset_file = "ochuman"
