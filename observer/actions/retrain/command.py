"""A command on this machine: the whole loop without a cluster. Each order has a folder of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from observer.actions.base import Order, Progress, canonical
from observer.errors import Permanent, Retryable

# Making `started` is what happens once, however often it is sent; the exit code comes last, by a rename.
_SCRIPT = """\
cd "$OBSERVER_RUN" && echo $$ >".pid.$$" || exit 1
if ! mkdir started 2>/dev/null; then rm -f ".pid.$$"; exit 0; fi
mv ".pid.$$" pid
cd "$OBSERVER_CWD"
"$@" >"$OBSERVER_RUN/log" 2>&1
echo $? >"$OBSERVER_RUN/.code" && mv "$OBSERVER_RUN/.code" "$OBSERVER_RUN/code"
"""

# Programs of this process that have not ended, as last looked at: one may outlive the target that started it.
children: list[subprocess.Popen[bytes]] = []


class Command:
    """Runs a program; it finds the order in `$OBSERVER_RUN/order.json` and writes `result.json` beside it.

    Parameters
    ----------
    arguments : sequence of str
        Program and arguments; no shell reads them.
    folder : Path
        Where runs are kept.
    """

    can_be_asked = True
    deduplicates = True

    def __init__(self, arguments: Sequence[str], folder: Path) -> None:
        self._arguments = list(arguments)
        self._folder = folder

    def send(self, order: Order) -> str:
        """Start it, unless it was started."""
        run = self._folder.absolute() / order.id
        try:
            run.mkdir(parents=True, exist_ok=True)
            (run / "order.json").write_text(canonical(order.to_json()))
            environment = {**os.environ, "OBSERVER_RUN": str(run), "OBSERVER_CWD": str(Path.cwd())}
            child = subprocess.Popen(  # noqa: S603 - as configured, without a shell's reading
                ["/bin/sh", "-c", _SCRIPT, "sh", *self._arguments],
                env=environment,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            raise Retryable(f"{run}: {error}") from error
        children.append(child)
        return str(run)

    def find(self, order: Order) -> str | None:
        """Whether it was started."""
        run = self._folder.absolute() / order.id
        return str(run) if (run / "started").is_dir() else None

    def progress(self, order: Order, reference: str) -> Progress:
        """From the folder: the exit code, then the result."""
        del order
        run = Path(reference)
        children[:] = [child for child in children if child.poll() is None]  # no zombies
        alive = _alive(run)  # asked first: it may end, and leave its code, just now
        try:
            code = int((run / "code").read_text())
        except (OSError, ValueError):
            return Progress("running", "running") if alive else Progress("failed", "it was cut off")
        if code:
            return Progress("failed", f"it ended with code {code}: {_tail(run / 'log')}")
        return Progress("succeeded", "done", _result(run))

    def stop(self, order: Order, reference: str) -> None:
        """End the program and all that it started."""
        del order
        run = Path(reference)
        try:
            os.killpg(_pid(run), signal.SIGTERM)
        except (OSError, ValueError) as error:
            raise Permanent(f"{run}: {error}") from error

    def check(self) -> list[str]:
        """Whether runs can be kept, and the program is there."""
        found = []
        folder = self._folder.absolute()
        while not folder.exists():
            folder = folder.parent
        if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
            found.append(f"{self._folder}: runs cannot be kept there, {folder} may not be written to")
        program = self._arguments[0]
        if not any(
            os.access(Path(part) / program, os.X_OK)
            for part in ("/" if program.startswith("/") else os.environ.get("PATH", "")).split(os.pathsep)
        ):
            found.append(f"{program}: no such program")
        return found


def _pid(run: Path) -> int:
    """The program's process; raises `ValueError` where another has its number since the machine started."""
    pid = int((run / "pid").read_text())
    if not Path("/proc/self").exists():
        return pid
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:  # it has ended, or is somebody else's
        environment = b""
    if f"OBSERVER_RUN={run}\0".encode() not in environment:
        raise ValueError(f"process {pid} is not its own any more")
    return pid


def _alive(run: Path) -> bool:
    try:
        os.kill(_pid(run), 0)
    except FileNotFoundError:
        return True  # it has only just been started
    except (OSError, ValueError):
        return False
    return True


def _tail(log: Path) -> str:
    try:
        return log.read_text(errors="replace")[-300:].strip()
    except OSError:
        return ""


def _result(run: Path) -> Mapping[str, Any] | None:
    try:
        with (run / "result.json").open("rb") as file:
            value = json.loads(file.read(100_000))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None
