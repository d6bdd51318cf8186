"""Detectors of other packages, run in worker processes with interpreters of their own."""
