"""Pure functions of maps: heatmaps, one channel a keypoint, and offset maps, an (x, y) a keypoint.

Families differ in which pixel of the input a cell of the map stands for, not in the arithmetic; so
everything here is in cells of the map it is given, and cell (column i, row j) is the point (i, j).
"""
