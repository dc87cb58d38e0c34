"""Long runs of the whole system, with trouble: `python -m soak`."""
