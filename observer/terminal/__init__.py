"""What a person sees: a live view of models and findings, and references in print."""

from observer.terminal.plots import histogram_bars
from observer.terminal.reference import print_reference
from observer.terminal.state import Status, Told, Tone
from observer.terminal.view import TerminalView, render

__all__ = ["Status", "TerminalView", "Told", "Tone", "histogram_bars", "print_reference", "render"]
