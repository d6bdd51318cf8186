"""Profiling one table: whylogs in an environment of its own, beside our way from Kafka to summaries."""

from __future__ import annotations

import json
import subprocess

from tests.services.peers import environment

ROWS = 100_000
WHYLOGS = "whylogs==1.6.4"

# Runs in the peer's environment, on the same distribution: 20 normal columns, 3 of ten short texts.
_SCRIPT = """
import json, resource, sys
import numpy as np, pandas as pd
import whylogs as why
rows = int(sys.argv[1])
rng = np.random.default_rng(1)
names = np.array([f"value_{i}" for i in range(10)])
table = pd.DataFrame({f"amount_{i:02d}": rng.normal(size=rows) for i in range(20)})
for i in range(3):
    table[f"kind_{i}"] = names[rng.integers(0, 10, rows)]
why.log(table.head(1000))
used = resource.getrusage(resource.RUSAGE_SELF)
before = used.ru_utime + used.ru_stime
why.log(table)
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({"rows": rows, "cpu": used.ru_utime + used.ru_stime - before}))
"""


def whylogs_rate() -> float:
    """Rows per CPU-second of `whylogs.log` over a frame that is in memory already."""
    python = environment("whylogs", f"{WHYLOGS} 'numpy<2' 'pandas<3' 'setuptools<80'")
    variables = {"WHYLOGS_NO_ANALYTICS": "True", "PATH": "/usr/bin:/bin"}
    command = [str(python), "-W", "ignore", "-c", _SCRIPT, str(ROWS)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, env=variables).stdout
    found = json.loads(printed.strip().splitlines()[-1])
    return found["rows"] / found["cpu"]


if __name__ == "__main__":
    print(f"{whylogs_rate():,.0f} rows per CPU-second")
