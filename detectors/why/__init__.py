"""Why something changed: rankings, decompositions, slices. Associational, never causal."""

NOTE = "These are associations: what a change goes together with, not what caused it."
"""Goes with whatever of this room is shown to a person."""
