"""Export formats: the same intervals as text, tables and messages of other systems."""
