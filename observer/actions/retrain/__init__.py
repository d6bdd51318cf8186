"""Where models are retrained: an order becomes a run of a pipeline, once, and is followed to its end."""
