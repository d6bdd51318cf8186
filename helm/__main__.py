"""`python -m helm` writes what of the chart follows from the service."""

from helm import generated

for path, text in generated().items():
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
