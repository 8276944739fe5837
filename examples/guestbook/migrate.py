"""Brings the database's tables up to date: each file in migrations/ once, in order."""

from pathlib import Path

from store import connect

connection = connect()
with connection, connection.cursor() as db:
    # Two at once wait for each other.
    db.execute("SELECT pg_advisory_xact_lock(2)")
    db.execute("CREATE TABLE IF NOT EXISTS migrations (name text PRIMARY KEY)")
    db.execute("SELECT name FROM migrations")
    done = {name for (name,) in db.fetchall()}
    for file in sorted(Path("migrations").glob("*.sql")):
        if file.name not in done:
            print(f"migrating: {file.name}", flush=True)
            db.execute(file.read_text())
            db.execute("INSERT INTO migrations VALUES (%s)", (file.name,))
