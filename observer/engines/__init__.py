"""What turns the pipeline: a loop in one process."""
