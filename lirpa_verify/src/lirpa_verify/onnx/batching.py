"""A small clean-up of files: what is reshaped to a batch of one keeps the batch that it has instead."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, numpy_helper

#: What ONNX takes as "the size that the input has here".
_SAME = 0


def any_batch(model: ModelProto) -> ModelProto:
    """A copy in which `Reshape` nodes with a constant shape `[1, …]` keep the size of the batch.

    Whether that is the same network is for the comparison with onnxruntime to say, which sees batches too.
    """
    copied = ModelProto()
    copied.CopyFrom(model)
    graph = copied.graph
    constants = {i.name: i for i in graph.initializer}
    constants |= {
        n.output[0]: n.attribute[0].t
        for n in graph.node
        if n.op_type == "Constant" and n.attribute[0].HasField("t")
    }
    for i, node in enumerate(graph.node):
        if node.op_type != "Reshape" or len(node.input) < 2 or node.input[1] not in constants:
            continue
        shape = numpy_helper.to_array(constants[node.input[1]]).reshape(-1)
        if any(a.name == "allowzero" and a.i for a in node.attribute) or shape.size < 2 or shape[0] != 1:
            continue
        name = f"{node.input[1]}_any_batch_{i}"
        changed = np.concatenate([[_SAME], shape[1:]]).astype(np.int64)
        graph.initializer.append(numpy_helper.from_array(changed, name))
        node.input[1] = name
    return copied
