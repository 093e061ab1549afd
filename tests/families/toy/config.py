"""The toy family: one person a picture.

python main.py -c tests/families/toy/config.py --coco_path DIR --output_dir DIR
"""

_base_ = ["../../../config/coco_transformer.py"]

modelname = "toy"
channels = 16
sigma = 1.5
lr = 1e-2
batch_size = 2
epochs = 10
