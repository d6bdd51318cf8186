"""Feast: the only door to it, through a process with an interpreter of its own."""

from observer.sources.feast.process import Answer, Feast
from observer.sources.feast.spec import FeastRepo

__all__ = ["Answer", "Feast", "FeastRepo"]
