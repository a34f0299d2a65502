"""Embed photos by the backbone of a saved model, without torch: `python -m training.photo_embeddings MODEL PHOTOS`.

MODEL is a folder with what `serve.py` loads, PHOTOS a folder of encoded pictures. PHOTOS/embeddings.npy is written:
(photos, width) float32, a row for each file in the order of the names; one that cannot be read has a row of NaN.
The embedding is what the graph hands to the head, whose two linear layers end it.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from training.graphs import import_openvino
from training.pictures import BadPicture
from training.preprocess import load_for_evaluation
from training.serve import BadModel, model_fn

FILE = "embeddings.npy"
_HEAD_LAYERS = 2


def embed_photos(model: Path, photos: Path) -> npt.NDArray[np.float32]:
    """Return the embeddings of the files of a folder, (photos, width) float32, computed in fp32.

    Raises:
        BadModel: the model is not as training saved it, or its graph does not end in a head of two linear layers.
    """
    preprocessing = model_fn(str(model)).preprocessing  # it checks the files
    openvino = import_openvino()
    core = openvino.Core()
    graph = core.read_model(model / "graph.xml")
    embedding = openvino.Model([_head_input(graph)], graph.get_parameters(), "embedding")
    compiled = core.compile_model(embedding, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    width = int(embedding.outputs[0].shape[1])
    files = sorted(path for path in photos.iterdir() if path.name != FILE)
    rows = np.full((len(files), width), np.nan, np.float32)
    for row, path in zip(rows, files, strict=True):
        try:
            row[:] = compiled([load_for_evaluation(path.read_bytes(), preprocessing)[None]])[0][0]
        except BadPicture as error:
            print(f"{path.name}: {error}", file=sys.stderr)
    return rows


def _head_input(graph: Any) -> Any:
    """Return the output of a node that the head's first linear layer multiplies, going back from the graph's result."""
    node, layers = graph.outputs[0].get_node(), 0
    while node.get_input_size():
        if node.get_type_name() == "MatMul":
            layers += 1
            if layers == _HEAD_LAYERS:
                return node.input_value(0)
        node = node.input_value(0).get_node()
    raise BadModel(f"the graph has {layers} linear layers on the way to its result, not the {_HEAD_LAYERS} of a head")


def main(arguments: list[str]) -> int:
    """Write the file; return 0, or 1 for a model that cannot be used."""
    model, photos = (Path(each) for each in arguments)
    try:
        np.save(photos / FILE, embed_photos(model, photos))
    except BadModel as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
