"""Detectors that learn from the rows a window keeps: kernels, classifiers."""
