"""What the configuration says of the history."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from observer.windows import Milliseconds

_SCHEMES = ("sqlite", "postgresql")


class HistorySpec(BaseModel):
    """Where past results are kept for the page and the API, and for how long."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: SecretStr = SecretStr("")
    """`postgresql://user:password@host/database` or `sqlite:///path`; by default an SQLite file in the
    state's folder."""
    retention: Annotated[Milliseconds, Field(ge=3_600_000)] = 90 * 86_400_000
    """How long results are kept, by the event time of their model."""
    max_rows: Annotated[int, Field(ge=1_000)] = 1_000_000
    """Most rows of one kind of result; the oldest go first."""

    @field_validator("url")
    @classmethod
    def _known(cls, url: SecretStr) -> SecretStr:
        scheme, separator, rest = url.get_secret_value().partition("://")
        if url.get_secret_value() and (scheme not in _SCHEMES or not separator or not rest):
            raise ValueError("accepted: postgresql://user:password@host/database, or sqlite:///path")
        return url

    def address(self, folder: Path) -> str:
        """The URL for SQLAlchemy; `folder` is the state's. Holds the password."""
        url = self.url.get_secret_value()
        if not url:
            return f"sqlite:///{folder / 'history.sqlite'}"
        return url.replace("postgresql://", "postgresql+psycopg://", 1)
