"""What may be said of a Feast repository."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

PACKAGES = "'feast==0.67.0' 'pandas<3'"
"""What its environment needs, as pip takes it; the version is the one that the tests use."""
PYTHON = Path("peers/feast/bin/python")


class FeastRepo(BaseModel):
    """A Feast repository, and who reads it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    repo: Path = Field(description="The folder that holds `feature_store.yaml`.")
    python: Path = Field(default=PYTHON, description="The interpreter that has Feast.")
    timeout: float = Field(default=600.0, gt=0, le=86_400, description="Seconds that one answer may take.")

    @property
    def recipe(self) -> str:
        """The shell command that makes the environment."""
        python = self.interpreter
        folder = python.parent.parent if python.parent.name == "bin" else python.parent
        return f"python3 -m venv {folder} && {folder}/bin/pip install {PACKAGES}"

    @property
    def interpreter(self) -> Path:
        """Where it is; not resolved, since an environment's interpreter is a link."""
        return self.python.expanduser().absolute()
