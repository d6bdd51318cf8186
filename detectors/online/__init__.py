"""Detectors that see the events of every window in order."""
