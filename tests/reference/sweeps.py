"""When a sweep is over, told step by step as a person would."""

from __future__ import annotations


def is_saturated(throughputs, gain, times):
    """Walks the sweep once and counts the steps in a row that add less than `gain` to the best."""
    best, flat = throughputs[0] if throughputs else 0.0, 0
    for throughput in throughputs[1:]:
        if (throughput - best) / best < gain:
            flat += 1
        else:
            flat = 0
        best = max(best, throughput)
    return flat >= times
