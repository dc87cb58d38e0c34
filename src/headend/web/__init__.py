"""REST, live events and the console."""
