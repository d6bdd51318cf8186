"""Where events come from, and where those that cannot be used go: Kafka topics and files."""
