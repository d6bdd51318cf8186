"""The worker: a peer's detectors, in an interpreter of the peer's own.

That interpreter is any Python from 3.10 on with numpy, pyarrow and the peer; it runs `__main__.py`, which
loads this folder under another name and nothing else of the service. So nothing here imports `detectors`, nor
needs a newer Python.
"""
