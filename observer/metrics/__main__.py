"""`python -m observer.metrics` prints the reference page."""

import sys

from observer.metrics import document

sys.stdout.write(document())
