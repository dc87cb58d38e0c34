"""The database: the only place that speaks SQL.

`headend.storage.store.Store` is the way in. Its methods block and may be called from any thread: the writer thread calls
them directly, everybody else through `asyncio.to_thread`. SQLAlchemy is imported when a store is opened, not before.
"""
