"""Finding meters and working out what they are."""
