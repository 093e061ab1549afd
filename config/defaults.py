"""Every setting of data, training and evaluation, with its value where no file gives another.

This file lies under every config; the settings of the network and of its losses, and their
defaults, come from `grouppose.models`. A name that is in neither place is an error.
"""

_base_ = ["coco_transformer.py"]

modelname = "grouppose"
note = ""  # free text, kept in the log and in the written config
seed = 42

# Data
dataset_file = "coco"  # a name of docs/datasets.md; "custom": any COCO-format keypoints
coco_path = ""  # folder of the data set, usually given as --coco_path
train_annotations = ""  # files and folders below coco_path in place of the data set's own
val_annotations = ""
train_images = ""
val_images = ""
train_list = ""  # a file that names the training pictures to use; "": all
skeleton = None  # a name ("halpe26", ...) or JSON file; None: what the data or the checkpoint say
categories = []  # [id, name] of each class, from the data
subset = 0  # train and evaluate on the first so many training pictures alone; 0: no such limit
group_by_aspect = False  # pictures of similar aspect share a batch: less padding is computed
synthetic_train = 8000  # pictures drawn for dataset_file = "synthetic"
synthetic_val = 200
synthetic_seed = 0
synthetic_size = 192  # height and width of a drawn picture

# Optimizer
batch_size = 2  # per process
accumulate = 1  # batches of a step: 2 trains batch_size=1 as batch_size=2, in half of the memory
lr = 1e-4
lr_backbone = 1e-5
lr_backbone_names = ["backbone.0"]  # parameters with this in their name learn at lr_backbone
weight_decay = 1e-4
clip_max_norm = 0.1  # of the gradient; 0: no clipping
use_ema = False  # also keep, evaluate and save a moving average of the weights
ema_decay = 0.9997
ema_epoch = 0  # the average starts at this epoch

# Schedule
epochs = 60
lr_schedule = "step"  # "step": a tenth after every lr_drop epochs; "cosine": down to 0 at the end
lr_drop = 50
warmup_steps = 0  # steps in which the rate rises from 0

# Evaluation and checkpoints
eval_every = 1  # epochs; the last one is always evaluated
flip_test = False  # also look at mirrored pictures: twice the time
test_scales = []  # shorter sides to look at and merge, in place of the largest training size
rescore = ""  # a file of --train_rescore, which then scores everybody
eval_batch_size = 1  # per process; above 1, pictures are padded and their results change slightly
save_checkpoint_interval = 10  # epochs between checkpoints that are kept
