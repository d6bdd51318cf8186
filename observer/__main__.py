"""`python -m observer` is the command `observer`."""

from observer.cli import main

main()
