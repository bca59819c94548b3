"""Some tests of jobs run on a PostgreSQL server, too."""

from support.postgres import postgres, postgres_server

__all__ = ["postgres", "postgres_server"]
