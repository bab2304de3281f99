"""Checks and runs ONNX models for the tests: the reference that the Rust side is compared with.

Speaks on stdin and stdout. Every message is a sequence of frames; a frame is a little-endian u32 length and that many
bytes. A request is one frame of JSON, then the binary frames it announces:

  {"op": "load", "check": bool}              + model bytes        -> {"ok": true, "handle": n, "inputs": [...], "outputs": [...]}
      optionally with "zeros": [{"name", "axis", "indices"}], entries of initialisers that are set to zero first
  {"op": "run", "handle": n, "shapes": [..]} + float32 per input  -> {"ok": true, "outputs": [{"name", "shape"}]} + float32 per output
  {"op": "drop", "handle": n}                                     -> {"ok": true}

A request that fails is answered {"ok": false, "error": text}. End of input ends the process.
"""

import json
import struct
import sys
import zlib

import numpy
import onnx
import onnx.numpy_helper
import onnxruntime

# The types of inputs that are made of the floats of a request.
ELEMENTS = {"tensor(float16)": "f2", "tensor(uint8)": "u1", "tensor(int64)": "i8", "tensor(int32)": "i4"}

STDIN, STDOUT = sys.stdin.buffer, sys.stdout.buffer


def read_frame():
    header = STDIN.read(4)
    if len(header) < 4:
        return None
    (length,) = struct.unpack("<I", header)
    data = STDIN.read(length)
    return data if len(data) == length else None


def write_frame(data):
    STDOUT.write(struct.pack("<I", len(data)))
    STDOUT.write(data)


def describe(values):
    """Name and shape of session inputs or outputs; -1 where a dimension is open."""
    return [
        {"name": v.name, "shape": [d if isinstance(d, int) else -1 for d in v.shape or []]}
        for v in values
    ]


def numbers(result):
    """An output as floats: a text by a checksum, a map by its values in the order of its keys, a list as one row."""
    if isinstance(result, dict):
        return numpy.array([result[key] for key in sorted(result)], "<f4")
    if isinstance(result, list):
        return numpy.concatenate([numbers(part).ravel() for part in result])
    if result.dtype.kind in "OUS":
        sums = [zlib.crc32(str(text).encode()) % 2**20 for text in result.ravel()]
        return numpy.array(sums, "<f4").reshape(result.shape)
    return numpy.ascontiguousarray(result, "<f4")


def with_zeros(model, slices):
    """The model with zeros in slices of its initialisers."""
    made = onnx.load_from_string(model)
    tensors = {tensor.name: tensor for tensor in made.graph.initializer}
    for entry in slices:
        tensor = tensors[entry["name"]]
        array = onnx.numpy_helper.to_array(tensor).copy()
        array[(slice(None),) * entry["axis"] + (entry["indices"],)] = 0
        tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    return made.SerializeToString()


class Server:
    def __init__(self):
        self.sessions = {}
        self.next = 0
        self.options = onnxruntime.SessionOptions()
        self.options.intra_op_num_threads = 1
        self.options.log_severity_level = 4

    def load(self, request, frames):
        (model,) = frames
        if request.get("zeros"):
            model = with_zeros(model, request["zeros"])
        if request["check"]:
            onnx.checker.check_model(model, full_check=True)
        session = onnxruntime.InferenceSession(
            model, self.options, providers=["CPUExecutionProvider"]
        )
        handle = self.next
        self.next += 1
        self.sessions[handle] = session
        answer = {
            "handle": handle,
            "inputs": describe(session.get_inputs()),
            "outputs": describe(session.get_outputs()),
        }
        return answer, []

    def run(self, request, frames):
        session = self.sessions[request["handle"]]
        feeds = {
            value.name: numpy.frombuffer(data, "<f4").reshape(shape).astype(ELEMENTS.get(value.type, "<f4"))
            for value, shape, data in zip(
                session.get_inputs(), request["shapes"], frames, strict=True
            )
        }
        results = [numbers(result) for result in session.run(None, feeds)]
        described = [
            {"name": value.name, "shape": list(r.shape)}
            for value, r in zip(session.get_outputs(), results, strict=True)
        ]
        return {"outputs": described}, [r.tobytes() for r in results]

    def drop(self, request, frames):
        del self.sessions[request["handle"]]
        return {}, []


def main():
    server = Server()
    operations = {"load": (server.load, 1), "run": (server.run, None), "drop": (server.drop, 0)}
    while (header := read_frame()) is not None:
        request = json.loads(header)
        operation, count = operations[request["op"]]
        frames = [read_frame() for _ in range(len(request["shapes"]) if count is None else count)]
        try:
            answer, blobs = operation(request, frames)
            answer["ok"] = True
        except Exception as error:  # every failure is the caller's to judge
            answer, blobs = {"ok": False, "error": f"{type(error).__name__}: {error}"}, []
        write_frame(json.dumps(answer).encode())
        for blob in blobs:
            write_frame(blob)
        STDOUT.flush()


if __name__ == "__main__":
    main()
