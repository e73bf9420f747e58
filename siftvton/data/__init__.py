"""A data set in a folder -> the network's inputs: layouts, items, augmentation, matching, checks."""
