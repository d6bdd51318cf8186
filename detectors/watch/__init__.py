"""One version of a model under watch: its streams, their history, evidence and alarms."""
