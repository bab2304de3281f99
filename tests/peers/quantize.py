"""Quantises models with ONNX Runtime's own quantiser, in every format that it writes.

    python quantize.py MODEL DIRECTORY

Writes DIRECTORY/<format>-<activations>-<weights>.onnx. Ranges are observed on seeded noise: what matters is the form of
the files, not their accuracy.
"""

import itertools
import pathlib
import sys

import numpy
import onnx
from onnxruntime import quantization


class Noise(quantization.CalibrationDataReader):
    """A few batches of noise for a model with one input."""

    def __init__(self, model):
        value = onnx.load(model).graph.input[0]
        shape = [dim.dim_value or 4 for dim in value.type.tensor_type.shape.dim]
        random = numpy.random.default_rng(0)
        self.batches = iter([{value.name: random.uniform(-2, 2, shape).astype("f4")} for _ in range(4)])

    def get_next(self):
        return next(self.batches, None)


def main():
    model, directory = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    formats = [quantization.QuantFormat.QDQ, quantization.QuantFormat.QOperator]
    activations = [quantization.QuantType.QUInt8, quantization.QuantType.QInt8]
    for form, activation, per_channel in itertools.product(formats, activations, [False, True]):
        weights = "channel" if per_channel else "tensor"
        quantization.quantize_static(
            model,
            directory / f"{form.name}-{activation.name}-{weights}.onnx",
            Noise(model),
            quant_format=form,
            per_channel=per_channel,
            # Exact sums of products on every processor.
            reduce_range=True,
            activation_type=activation,
            weight_type=quantization.QuantType.QInt8,
        )


if __name__ == "__main__":
    main()
