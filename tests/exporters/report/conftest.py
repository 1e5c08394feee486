"""A realistic report, as a finished run leaves it."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

LABELS = [
    *("T-shirt", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
]


def latency(p50: float, calls: int, **more: Any) -> dict[str, Any]:
    return {
        "p50": p50,
        "p90": p50 * 1.06,
        "p95": p50 * 1.11,
        "p99": p50 * 1.42,
        "mean": p50 * 1.02,
        "std": p50 * 0.08,
        "cv": 0.078,
        "min": p50 * 0.95,
        "max": p50 * 3.1,
        "n_samples": calls,
        "p99_reliable": calls >= 1000,
        "unstable": False,
        "spread": 0.03,
        "first": p50 * 9,
        "warmup_mean": p50 * 1.3,
        "batch": 1,
        "images_per_second": 990 / p50,
        **more,
    }


def model(role: str, precision: str, size: int, top1: float, p50: float) -> dict[str, Any]:
    target = "ort-x86" if precision == "int8" else "any"
    name = f"{role}.{precision}" + (".ort-x86" if precision == "int8" else "")
    return {
        "role": role,
        "precision": precision,
        "target": target,
        "path": f"artifacts/{name}.onnx",
        "bytes": size,
        "parameters": 705_306 if role == "teacher" else 96_154,
        "top1": top1,
        "top5": None,
        "interval95": [top1 - 1.6, top1 + 1.4],
        "agreement": 100.0 if role == "teacher" else 87.1,
        "latency_ms": latency(p50, 1500),
        "n": 2000,
        "sha256": hashlib.sha256(name.encode()).hexdigest(),
        "architecture": "resnet18.fashion" if role == "teacher" else "test_resnet.small",
    }


def sample_report() -> dict[str, Any]:
    teacher = model("teacher", "fp32", 2_834_120, 93.3, 1.92)
    student = model("student", "fp32", 391_877, 84.65, 0.413)
    small = model("student", "int8", 121_344, 84.40, 0.231)
    student["speedup"] = {"estimate": 4.65, "low": 4.61, "high": 4.68}
    small["speedup"] = {"estimate": 8.31, "low": 8.22, "high": 8.39}
    stages = [
        ("teacher", 0.8, 412_000_000, False),
        ("synthesize", 95.2, 903_000_000, False),
        ("distill", 172.9, 1_130_000_000, False),
        ("export", 6.1, 640_000_000, False),
        ("quantize", 4.4, 702_000_000, True),
        ("evaluate", 3.0, None, False),
        ("bench", 12.2, 388_000_000, False),
    ]
    return {
        "schema_version": 1,
        "manifest": {"command": "cake-edge demo --out runs/demo", "seed": 0},
        "stages": [
            {"name": n, "seconds": s, "peak_memory_bytes": m, "skipped": k} for n, s, m, k in stages
        ],
        "models": [teacher, student, small],
        "pool": {
            "images": 6000,
            "classes_covered": 10,
            "pushed": 1800,
            "hit_rate": 0.962,
            "label_entropy": 0.991,
            "teacher_confidence": 0.874,
            "class_histogram": [612, 590, 633, 601, 588, 545, 604, 610, 641, 576],
            "labels": LABELS,
        },
        "distill": {
            "student": "test_resnet.small",
            "steps": 6000,
            "views": 1_536_000,
            "loss": [[s, 0.08 + 1.9 * math.exp(-s / 700)] for s in range(0, 6001, 50)],
            "agreement_synthetic": 91.2,
            "agreement_families": {"spectrum": 84.5, "gratings": 77.0},
        },
        "quantize": {
            "ort-x86": {
                "calibration_images": 384,
                "checked_images": 128,
                "ranges": "least-error",
                "parity": {"n": 128, "top1_agreement": 0.992, "sqnr_db": 31.2},
                "coverage": {
                    "int8": {"Conv": 12},
                    "float": {"Gemm": 1},
                    "left_float": ["head"],
                    "reasons": {"head": "its output is not quantized"},
                    "profiled": True,
                },
                "steps": ["cross-layer", "bias"],
                "left_float": [],
                "four_bit": [],
                "sensitivity": {},
                "bytes": 121_344,
                "speed": {"estimate": 1.79, "low": 1.77, "high": 1.81},
                "over_student_fp32": {"estimate": 1.79, "low": 1.77, "high": 1.81},
                "verdict": "quantized",
                "advice": ["1 operators with weights run in float"],
            }
        },
        "images": [{"title": "Synthetic images, one row a class", "file": "pool/preview.png"}],
        "environment": {
            "versions": {"python": "3.11.9", "torch": "2.11.0", "onnxruntime": "1.20.0"},
            "system": "Linux",
            "machine": "x86_64",
            "processor": "Example CPU",
            "cpu_flags": ["avx2", "avx512f", "avx512_vnni"],
            "cores": 2,
            "governor": None,
            "threads": 1,
            "clock": "one inference call: float32 images in, logits out",
            "runtime": {
                "runtime": "ort",
                "version": "1.20.0",
                "providers": ["CPUExecutionProvider"],
            },
            "load_before": 0.4,
            "load_after": 1.1,
            "warnings": [],
        },
        "data_free": {
            "statement": "No real image was read before the evaluation.",
            "reads": [
                {"stage": "evaluate", "what": "Fashion-MNIST test images", "images": 2000},
            ],
        },
    }


@pytest.fixture
def report() -> dict[str, Any]:
    return sample_report()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run's folder with the one picture that the report shows."""
    random = np.random.default_rng(0)
    pixels = random.integers(0, 255, size=(48, 140), dtype=np.uint8)
    place = tmp_path / "run"
    (place / "pool").mkdir(parents=True)
    Image.fromarray(pixels).save(place / "pool" / "preview.png")
    return place
