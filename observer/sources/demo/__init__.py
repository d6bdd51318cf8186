"""An embedded stream of events with scripted drift: believable, seeded, the same on every run."""

from observer.sources.demo.script import Script
from observer.sources.demo.source import DemoSource, EventClock

__all__ = ["DemoSource", "EventClock", "Script"]
