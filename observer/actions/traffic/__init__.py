"""Where traffic is divided between champion and challenger: a platform's object read, patched, read back."""
