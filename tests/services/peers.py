"""Environments of other packages, made once under `.cache/peers` as their adapters tell users to."""

from __future__ import annotations

import fcntl
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from detectors.adapters.alibi import AlibiDetect
from detectors.adapters.evidently import Evidently
from detectors.adapters.river import River
from observer.sources.feast.spec import PACKAGES as FEAST
from tests.services.process import ServiceError

_FOLDER = Path(__file__).parents[2] / ".cache" / "peers"
PACKAGES = {
    "alibi-0.11": ("3.11", AlibiDetect.packages),
    "alibi-0.13": ("3.11", "'alibi-detect==0.13.0' 'scikit-learn<1.6' 'pyarrow<26'"),
    "alibi-torch": ("3.11", "'alibi-detect==0.13.0' 'scikit-learn<1.6' 'pyarrow<26' torch"),
    "evidently": (sys.executable, Evidently.packages),
    "river": (sys.executable, River.packages),
    "airflow": (sys.executable, "'apache-airflow==3.3.2'"),
    "actions": (sys.executable, "'kfp==2.17.0' 'cloudevents==2.2.0'"),
    "feast": (sys.executable, FEAST),
    "ingestion": (sys.executable, "'mlserver==1.7.1' 'tritonclient[grpc,http]==2.73.0' 'cloudevents==2.2.0'"),
    "client": (sys.executable, "'kserve==0.21.0' pandas polars pyarrow"),
}
"""Python and packages of each environment, as a shell would take them."""
NAMES = tuple(PACKAGES)


def interpreter(name: str) -> Path:
    """The interpreter of a peer's environment; raises `ServiceError` when it cannot be made, offline say."""
    base, packages = PACKAGES[name]
    return environment(name, packages, base)


def environment(name: str, packages: str, base: str = sys.executable) -> Path:
    """The interpreter of an environment of these packages, as a shell would take them; made where needed."""
    folder = _FOLDER / name
    python, made = folder / "bin" / "python", folder / ".made-of"
    _FOLDER.mkdir(parents=True, exist_ok=True)
    with (_FOLDER / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists() or made.read_text() != packages:
            uv("venv", "--clear", "--python", base, str(folder))
            uv("pip", "install", "--python", str(python), *shlex.split(packages))
            made.write_text(packages)
    return python


def uv(*command: str) -> None:
    """Run uv; raises `ServiceError` with what it said when it fails."""
    program = shutil.which("uv") or str(_FOLDER.parent / "uv" / "bin" / "uv")
    # Peers are made for Pythons that the machine may lack: then uv fetches one.
    environment = {**os.environ, "UV_PYTHON_DOWNLOADS": "automatic"}
    try:
        subprocess.run(
            [program, *command], check=True, capture_output=True, text=True, env=environment, timeout=600
        )
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or ""
        raise ServiceError(f"uv {shlex.join(command)}: {error}\n{said[-2000:]}") from error


if __name__ == "__main__":
    for each in sys.argv[1:] or NAMES:
        print(interpreter(each))
