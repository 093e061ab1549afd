"""Sizes of the training pictures, as published for COCO; other configs take them as `_base_`."""

data_aug_flip = "auto"  # mirror every second picture; "auto": if keypoints have left and right
data_aug_scales = [480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800]  # of the shorter side
data_aug_max_size = 1333  # of the longer side
data_aug_scales2_resize = [400, 500, 600]  # of the shorter side, before a random crop
data_aug_scales2_crop = [384, 600]  # smallest and largest side of that crop
data_aug_scale_overlap = None  # a number: every size above is multiplied by it
