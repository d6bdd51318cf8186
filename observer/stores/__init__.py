"""Where state lives between starts."""
