"""Watches machine-learning models in production and acts on what it sees."""
