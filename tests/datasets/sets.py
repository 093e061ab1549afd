"""Tiny data sets that the tests write themselves."""

import json

import numpy as np
from addict import Dict
from PIL import Image

from grouppose.skeleton import skeleton_of

DEFAULTS = {
    "modelname": "grouppose",
    "dataset_file": "coco",
    "train_annotations": "",
    "val_annotations": "",
    "train_images": "",
    "val_images": "",
    "train_list": "",
    "skeleton": None,
    "categories": [],
    "num_body_points": 17,
    "num_classes": 2,
    "seed": 0,
    "subset": 0,
    "exif": "turn",
    "augmentation": "crop",
    "affine_size": 64,
    "affine_scale": [0.75, 1.5],
    "affine_rotation": 30.0,
    "affine_translation": 0.2,
    "ignore_regions": "auto",
    "unlabelled_people": False,
    "person_area": "annotated",
    "data_aug_flip": "auto",
    "data_aug_scales": [48, 64],
    "data_aug_max_size": 100,
    "data_aug_scales2_resize": [40, 60],
    "data_aug_scales2_crop": [38, 60],
    "data_aug_scale_overlap": None,
}


def settings(folder, **changes):
    cfg = Dict({**DEFAULTS, "coco_path": str(folder), **changes})
    cfg.freeze()
    return cfg


def person(number, image_id, num_keypoints=17, **changes):
    """An annotation; keypoint k lies at (10 + k, 20 + k), all visible."""
    keypoints = [[10 + k, 20 + k, 2] for k in range(num_keypoints)]
    return {
        "id": number,
        "image_id": image_id,
        "category_id": 1,
        "iscrowd": 0,
        "num_keypoints": num_keypoints,
        "keypoints": [value for point in keypoints for value in point],
        "bbox": [5.0, 10.0, 40.0, 30.0],
        "area": 600.0,
        **changes,
    }


def contents(sizes, annotations, num_keypoints=17, **image_entries):
    """sizes: image id -> (height, width)."""
    names = list(skeleton_of(num_keypoints).names)
    return {
        "images": [
            {"id": i, "file_name": f"{i:03d}.png", "height": h, "width": w, **image_entries}
            for i, (h, w) in sizes.items()
        ],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person", "keypoints": names, "skeleton": []}],
    }


def picture(height, width, seed=0):
    generator = np.random.default_rng((seed, height, width))
    return generator.integers(0, 256, (height, width, 3), dtype=np.uint8)


def write_custom(folder, data, name="animals_train.json", images="images"):
    """Writes a set without a layout: DIR/annotations/NAME, its pictures in DIR/IMAGES."""
    for part in ("annotations", images):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / "annotations" / name).write_text(json.dumps(data))
    for entry in data["images"]:
        array = picture(entry["height"], entry["width"], entry["id"])
        Image.fromarray(array).save(folder / images / entry["file_name"])
    return folder


def write_set(folder, train, val=None, layout="coco"):
    """Writes annotation files and one noise picture per listed image."""
    if layout == "coco":
        places = {
            "images/train2017": ("annotations/person_keypoints_train2017.json", train),
            "images/val2017": ("annotations/person_keypoints_val2017.json", val or train),
        }
    else:
        places = {
            "images": ("json/crowdpose_trainval.json", train),
            "images/.": ("json/crowdpose_test.json", val or train),
        }
    for images, (annotation_file, data) in places.items():
        (folder / images).mkdir(parents=True, exist_ok=True)
        (folder / annotation_file).parent.mkdir(parents=True, exist_ok=True)
        (folder / annotation_file).write_text(json.dumps(data))
        for entry in data["images"]:
            array = picture(entry["height"], entry["width"], entry["id"])
            Image.fromarray(array).save(folder / images / entry["file_name"])
    return folder
