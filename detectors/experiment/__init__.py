"""Champion against challenger: evidence, an estimate with a band, and whether the comparison is fair."""
