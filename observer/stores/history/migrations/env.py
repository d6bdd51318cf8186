"""What Alembic runs: the steps, within the transaction that `Database` opened."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
