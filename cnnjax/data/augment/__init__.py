"""Random augmentations on the device, f(key, example), and what they do, without."""
