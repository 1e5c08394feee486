"""Quantization-aware fine-tuning for few bits, without data."""
