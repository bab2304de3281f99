"""Times a model with ONNX Runtime's Python interface, one thread, as a peer of the agent.

A line `load PATH` makes a session; `time RUNS` answers with the median of so many runs in nanoseconds, after one that does not
count; `quit` ends.
"""

import statistics
import sys
import time

import numpy
import onnxruntime


def load(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    # Bound once: `session.run` converts its arguments and results in every run, which takes 2 % of a small network's time.
    binding = session.io_binding()
    for tensor in session.get_inputs():
        shape = [size if isinstance(size, int) else 1 for size in tensor.shape]
        values = numpy.random.default_rng(0).uniform(-1, 1, shape).astype(numpy.float32)
        binding.bind_cpu_input(tensor.name, values)
    for tensor in session.get_outputs():
        binding.bind_output(tensor.name)
    return session, binding


def samples(session, binding, runs):
    session.run_with_iobinding(binding)
    times = []
    for _ in range(runs):
        begun = time.perf_counter_ns()
        session.run_with_iobinding(binding)
        times.append(time.perf_counter_ns() - begun)
    return times


def measure(session, binding, runs):
    return statistics.median(samples(session, binding, runs))


def main():
    session, binding = None, None
    for line in sys.stdin:
        words = line.split(maxsplit=1)
        if words[0] == "load":
            session, binding = load(words[1].strip())
            print("ok", flush=True)
        elif words[0] == "time":
            print(measure(session, binding, int(words[1])), flush=True)
        else:
            return


if __name__ == "__main__":
    main()
