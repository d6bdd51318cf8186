"""What the service tells other systems."""
