"""Past results in a database: SQLite in the state's folder, or PostgreSQL."""

from observer.stores.history.spec import HistorySpec

__all__ = ["HistorySpec"]
