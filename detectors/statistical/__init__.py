"""Two-sample detectors on summaries; each file is one method, named after it."""
