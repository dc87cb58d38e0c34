"""What goes in and out as JSON: the only place with pydantic in the web layer."""
