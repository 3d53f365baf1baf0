"""Classifies pictures by an exported network, without JAX.

python -m experiments.export --workdir=RUN
python experiments/examples/predict_onnx.py RUN/model.onnx PICTURES
"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps


def main(model, *pictures):
    """Yields the file, the likeliest class and its probability of each picture."""
    session = onnxruntime.InferenceSession(model)
    words = session.get_modelmeta().custom_metadata_map
    words = {name: json.loads(word) for name, word in words.items()}
    height, width = words["image_size"]
    for file in pictures:
        image = Image.open(file).convert("L" if words["channels"] == 1 else "RGB")
        image = ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)
        pixels = np.asarray(image).reshape(1, height, width, words["channels"])
        if words["input"] == "float32":
            pixels = pixels.astype(np.float32) / 255
        probabilities = np.asarray(session.run(None, {"images": pixels})[0])[0]
        best = int(probabilities.argmax())
        yield file, words["class_names"][best], float(probabilities[best])


if __name__ == "__main__":
    for file, name, probability in main(*sys.argv[1:]):
        print(f"{file}  {name} {probability:.3f}")
