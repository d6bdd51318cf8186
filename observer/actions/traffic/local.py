"""A splitter on this machine: a file with the challenger's share, which whoever divides requests reads."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import ClassVar

from observer.actions.traffic.platform import Object, Patch, Resource, whole
from observer.actions.traffic.target import Conflict
from observer.errors import Permanent, Retryable


class LocalSplit:
    """The file's `share` and `shadow`, percent; they are served as soon as they are written."""

    resource = Resource("", "v1", "File", "files")
    can_shadow: ClassVar[bool] = True

    def share(self, thing: Object) -> float:
        """What the file says."""
        return _percent(thing, "share")

    def shadow(self, thing: Object) -> float:
        """What the file says."""
        return _percent(thing, "shadow")

    def served(self, thing: Object) -> float | None:
        """The same."""
        return self.share(thing)

    def problems(self, thing: Object, share: float, shadow: float = 0.0) -> list[str]:
        """None that a file could have."""
        self.share(thing)
        whole(share)
        whole(shadow)
        return []

    def patch(self, _: Object, share: float, shadow: float | None = None) -> Patch:
        """These numbers alone."""
        return {"share": whole(share)} | ({} if shadow is None else {"shadow": whole(shadow)})

    def promote(self, thing: Object, shadow: float | None = None) -> Patch:
        """The whole traffic."""
        return self.patch(thing, 100, shadow)

    def why(self, _: Object) -> str:
        """Nothing."""
        return ""


def _percent(thing: Object, name: str) -> float:
    value = thing.get(name, 0)
    if not isinstance(value, int | float) or not 0 <= value <= 100:
        raise Permanent(f"{name}: {value!r:.30}; accepted: 0 to 100")
    return float(value)


class LocalFile:
    """A JSON file as an object: replaced as a whole, with a version that counts up."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.name = f"file {path}"

    def read(self) -> Object:
        """As it is now; empty where it is not there."""
        try:
            thing = json.loads(self._path.read_text())
        except FileNotFoundError:
            thing = {}
        except (OSError, ValueError) as error:
            raise Retryable(f"{self.name}: {error}") from error
        if not isinstance(thing, dict):
            raise Permanent(f"{self.name}: accepted: a JSON object with `share`")
        return {**thing, "metadata": {"resourceVersion": str(thing.get("version", 0))}}

    def patch(self, change: Patch, *, dry: bool = False) -> Object:
        """Replace the file, unless it was changed since it was read."""
        thing = self.read()
        expected = change.get("metadata", {}).get("resourceVersion")
        version = thing["metadata"]["resourceVersion"]
        if expected != version:
            raise Conflict(f"{self.name}: changed since it was read")
        kept = {key: value for key, value in {**thing, **change}.items() if key != "metadata"}
        kept["version"] = int(version) + 1
        if dry:
            return kept
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            fresh = self._path.with_suffix(".new")
            fresh.write_text(json.dumps(kept))
            fresh.replace(self._path)
        except OSError as error:
            raise Retryable(f"{self.name}: {error}") from error
        return self.read()

    def refused(self) -> list[str]:
        """Whether its folder can be written."""
        folder = self._path.absolute().parent
        while not folder.exists():
            folder = folder.parent
        return [] if os.access(folder, os.W_OK) else [f"{folder}: it cannot be written"]
