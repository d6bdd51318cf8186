"""The configuration: one YAML file, every problem reported at once."""

from observer.config.load import load, parse
from observer.config.schema import (
    CapsConfig,
    Config,
    HttpConfig,
    LabelConfig,
    ModelConfig,
    PredictionConfig,
    StreamConfig,
)

__all__ = [
    "CapsConfig",
    "Config",
    "HttpConfig",
    "LabelConfig",
    "ModelConfig",
    "PredictionConfig",
    "StreamConfig",
    "load",
    "parse",
]
