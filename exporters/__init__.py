"""From a checkpoint to something that runs: ONNX, INT8, runtimes, latency, reports."""
