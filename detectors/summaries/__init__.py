"""Small, typed, mergeable summaries of a window: everything a detector may see."""
