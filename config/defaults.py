"""Every setting of data, training and evaluation, with its value where no file gives another.

This file lies under every config; the settings of the network and of its losses, and their
defaults, come from `grouppose.models`. A name that is in neither place is an error.
"""

_base_ = ["coco_transformer.py"]

modelname = ""  # a folder of grouppose/models; "": the first family
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
num_body_points = 17  # keypoints of a person; in a custom set its file decides
num_classes = 2  # of the data, and one that stands for nobody; likewise
skeleton = None  # a name ("halpe26", ...) or JSON file; None: what the data or the checkpoint say
categories = []  # [id, name] of each class, from the data
subset = 0  # train and evaluate on the first so many training pictures alone; 0: no such limit
exif = "turn"  # orientation of pictures where labels fit either way; "ignore": as they are stored
augmentation = "crop"  # "affine": a square of each picture, scaled, turned, moved and mirrored
affine_size = 512  # height and width of these in pixels
affine_scale = [0.75, 1.5]  # least and largest side of the square, in shorter sides of the picture
affine_rotation = 30.0  # degrees that it is turned by at most, to either side
affine_translation = 0.2  # of its side that it is moved by at most, to either side
ignore_regions = "auto"  # crowds and people without labels carry no loss; "auto": if "affine"
unlabelled_people = False  # people without a labelled keypoint also go into training
person_area = "annotated"  # or that of the "box"; of keypoints: "extent", from the "corner"
max_unreadable = 20  # pictures that cannot be read, of training and of evaluation; more end the run
group_by_aspect = False  # pictures of similar aspect share a batch: less padding is computed
synthetic_train = 8000  # pictures drawn for dataset_file = "synthetic"
synthetic_val = 200
synthetic_seed = 0
synthetic_size = 192  # height and width of a drawn picture

# Optimizer
batch_size = 2  # per process; "auto": as many as fit on the GPU
accumulate = 1  # batches of a step: 2 trains batch_size=1 as batch_size=2, in half of the memory
recipe_batch = 0  # pictures of a step, of all processes, that the rates are for; 0: unknown
optimizer = "adamw"  # or "adam"
lr = 1e-3
lr_backbone = None  # None: the backbone learns at lr as the rest
lr_backbone_names = []  # parameters with one of these in their name learn at lr_backbone
weight_decay = 0.0
clip_max_norm = 0.0  # of the gradient; 0: no clipping
sync_bn = False  # batch norm over the pictures of all processes; on GPUs
frozen_norms = []  # batch norms with one of these in their name keep statistics and weights
use_ema = False  # also keep, evaluate and save a moving average of the weights
ema_decay = 0.9997
ema_epoch = 0  # the average starts at this epoch
sharding = "none"  # "full": weights, gradients and optimizer spread over the processes (FSDP2)
max_bad_steps = 10  # in a row whose loss or gradient is not finite; then back to a checkpoint
max_rollbacks = 3  # such returns; then an error

# Schedule
epochs = 100
lr_schedule = "step"  # "step": by lr_drop or lr_table; "cosine": down to 0 at the end
lr_drop = []  # a tenth after each of these epochs; a number: after every so many epochs
lr_table = []  # in place of lr_drop: [[0, 1], [65, 0.2], ...]; factors of the rates from epochs on
warmup_steps = 0  # steps in which the rate rises
warmup_epochs = 0.0  # the same in epochs
warmup_ratio = 0.0  # of the rate in the first of them; 0: 1 / warmup_steps
warmup_names = []  # parameters with one of these in their name warm up; []: all

# Evaluation and checkpoints
eval_every = 1  # epochs; the last one is always evaluated
eval_size = []  # shorter side in pixels, limit of the longer one; []: the largest of training
flip_test = False  # also look at mirrored pictures, twice the time; "auto": as data_aug_flip
test_scales = []  # shorter sides to look at and merge, in place of that of eval_size
rescore = ""  # a file of --train_rescore, which then scores everybody
eval_batch_size = 1  # per process; above 1, pictures are padded and their results change slightly
early_stop = 0  # evaluations without a better AP after which training ends; 0: never
draw_pictures = 4  # evaluation pictures drawn after each evaluation; 0: none
save_checkpoint_interval = 10  # epochs between checkpoints that are kept
save_steps = 0  # steps between checkpoints within an epoch; 0: one at its end only
keep_checkpoints = 2  # the newest ones; a damaged one is replaced by the one before it
tensorboard = True  # also write tensorboard/, where that package is installed
