"""The ratio of two models' latencies by ONNX Runtime's Python interface, one thread, as an independent check of the agent.

A line `ratio CANDIDATE REFERENCE PROCESSES SECONDS` starts so many processes after one another, which alternate in the order of
loading, and answers with two geometric means of their ratios: of the 5th percentiles of all runs, and of the medians over rounds.
A process runs the two in turn, in blocks of about 5 ms, for so many seconds. `quit` ends.
"""

import math
import statistics
import subprocess
import sys
import time

import numpy
import ort_latency

BLOCK_NS = 5e6


def one_process(paths, seconds):
    models = [ort_latency.load(path) for path in paths]
    runs = []
    for session, binding in models:
        typical = ort_latency.measure(session, binding, 20)
        runs.append(max(1, int(BLOCK_NS / typical)))
    ratios = []
    times = ([], [])
    end = time.monotonic() + seconds
    while time.monotonic() < end or len(ratios) < 6:
        order = (0, 1) if len(ratios) % 2 == 0 else (1, 0)
        medians = {}
        for i in order:
            block = ort_latency.samples(*models[i], runs[i])
            medians[i] = statistics.median(block)
            times[i].extend(block)
        ratios.append(medians[0] / medians[1])
    low = [numpy.percentile(all_runs, 5) for all_runs in times]
    return low[0] / low[1], statistics.median(ratios)


def ratio(candidate, reference, processes, seconds):
    logarithms = []
    for number in range(processes):
        swapped = number % 2 == 1
        pair = (reference, candidate) if swapped else (candidate, reference)
        arguments = [sys.executable, __file__, "--process", *pair, str(seconds)]
        answer = subprocess.run(arguments, capture_output=True, text=True, check=True).stdout
        values = [math.log(float(value)) for value in answer.split()]
        logarithms.append([-value if swapped else value for value in values])
    return [math.exp(statistics.fmean(of)) for of in zip(*logarithms)]


def main():
    if sys.argv[1:2] == ["--process"]:
        print(*one_process(sys.argv[2:4], float(sys.argv[4])))
        return
    for line in sys.stdin:
        words = line.split()
        if words[0] != "ratio":
            return
        print(*ratio(words[1], words[2], int(words[3]), float(words[4])), flush=True)


if __name__ == "__main__":
    main()
