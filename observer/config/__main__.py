"""`python -m observer.config` prints the reference page."""

import sys

from observer.config.page import page

sys.stdout.write(page())
