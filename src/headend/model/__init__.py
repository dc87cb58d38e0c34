"""What the head-end talks about: meters, objects, quantities, readings, profiles, jobs, events. Pure data, no I/O."""
