"""Random augmentations on the device: f(key, example) -> example."""
