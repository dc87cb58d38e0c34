"""Alembic's migrations, run when a store is opened; each revision is a file in `versions`."""
