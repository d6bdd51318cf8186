"""Why a window was found to differ: put together from the state, as values for terminals, pages and JSON.

Reads a state that its service may be writing, and changes nothing.
"""

from observer.explain.assemble import explain
from observer.explain.question import Question
from observer.explain.values import Explanation, SliceFound, as_json

__all__ = ["Explanation", "Question", "SliceFound", "as_json", "explain"]
