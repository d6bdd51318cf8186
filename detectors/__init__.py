"""Pure statistics for monitoring models: values in, values out; no I/O, clock or network."""
