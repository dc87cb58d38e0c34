"""The meter's role: what a virtual meter of DL/T 645 shows, remembers and does."""
