"""An embedded stream of events with scripted drift: believable, seeded, the same on every run."""

from observer.sources.demo.script import Script
from observer.sources.demo.serving import Serving
from observer.sources.demo.source import Archive, DemoSource, EventClock

__all__ = ["Archive", "DemoSource", "EventClock", "Script", "Serving"]
