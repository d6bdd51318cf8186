"""Older versions of the service, out of this repository's history."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.services.process import ServiceError

ROOT = Path(__file__).parents[2]
COMMITS = {"0.1.0": "740025b22edae23cbdd9e8449005ff483bb4ba09"}
"""Of the versions before this one."""


def checkout(version: str, folder: Path) -> Path:
    """The folder, with what a version runs; raises `ServiceError` where a clone lacks its commit.

    Where there is no whole clone, but an archive of the sources, say, the test is skipped.
    """
    if shutil.which("git") is None or _git("rev-parse", "--is-shallow-repository").stdout.strip() != b"false":
        pytest.skip(f"no history of the repository here, out of which version {version} would be taken")
    commit = COMMITS[version]
    if _git("cat-file", "-e", f"{commit}^{{commit}}").returncode:
        raise ServiceError(f"version {version} is commit {commit}, which the history here does not have")
    done = _git("archive", "--format=tar", commit, "observer", "detectors")
    done.check_returncode()
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder


def _git(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, check=False)
