"""Retrain by a pipeline of Kubeflow on this machine, without a cluster: a `command` target.

```yaml
targets:
  here: {type: command, arguments: [/opt/kfp/bin/python, /opt/retrain_kfp.py]}
```

Where `/opt/kfp` is an environment with `kfp` in it. The order is in `$OBSERVER_RUN/order.json`; the version
that was trained goes to `result.json` beside it, and may start a rollout.
"""

import json
import os
from pathlib import Path

from kfp import dsl, local


@dsl.component(install_kfp_package=False)
def extract(until: float) -> int:
    """Rows to learn from."""
    return int(until) % 1_000 + 100


@dsl.component(install_kfp_package=False)
def train(model: str, rows: int) -> str:
    """Fit, and name the new version."""
    return f"v{rows}" if model else "v0"


@dsl.pipeline
def retrain(model: str, until: float) -> str:
    """Two steps, the second fed by the first."""
    rows = extract(until=until)
    return train(model=model, rows=rows.output).output


run = Path(os.environ["OBSERVER_RUN"])
wanted = json.loads((run / "order.json").read_text())["parameters"]
local.init(
    runner=local.SubprocessRunner(use_venv=False),
    pipeline_root=str(run / "pipeline"),
    raise_on_error=True,
)
made = retrain(model=wanted["model"], until=wanted["until"])
(run / "result.json").write_text(json.dumps({"version": made.output}))
