"""What Alembic runs: the connection comes from `headend.storage.engine`, which holds the transaction around it all."""

from __future__ import annotations

from alembic import context

from headend.storage.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
