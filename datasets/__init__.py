"""Data sets, their augmentation and their evaluation."""
