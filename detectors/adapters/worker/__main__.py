"""`python -I .../worker/__main__.py PEER MEGABYTES`: serve the detectors of a peer on stdin and stdout."""

import importlib
import importlib.util
import resource
import sys
from pathlib import Path

NAME = "observer_worker"


def main(peer: str, megabytes: int) -> None:
    """Bound the memory, before anything large is loaded, and serve until stdin ends."""
    resource.setrlimit(resource.RLIMIT_DATA, (megabytes << 20, megabytes << 20))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    here = Path(__file__).resolve().parent
    package = importlib.util.spec_from_file_location(
        NAME, here / "__init__.py", submodule_search_locations=[str(here)]
    )
    assert package is not None  # noqa: S101 - for the type checker
    sys.modules[NAME] = importlib.util.module_from_spec(package)
    importlib.import_module(f"{NAME}.server").serve(peer)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
