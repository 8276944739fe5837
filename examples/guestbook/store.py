"""The database, as all parts of the guestbook reach it."""

import os
import queue
import time
from contextlib import contextmanager

import psycopg2

_idle = queue.LifoQueue()


def connect(patience=30):
    """A connection of one's own; the database may still be starting."""
    end = time.monotonic() + patience
    while True:
        try:
            return psycopg2.connect(
                host=os.environ["DATABASE_HOST"],
                user=os.environ["POSTGRES_USER"],
                password=os.environ["POSTGRES_PASSWORD"],
                dbname=os.environ["POSTGRES_DB"],
                connect_timeout=3,
            )
        except psycopg2.OperationalError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


@contextmanager
def cursor():
    """One transaction on a connection that others use after it."""
    try:
        connection = _idle.get_nowait()
    except queue.Empty:
        connection = connect(patience=0)
    try:
        with connection, connection.cursor() as cursor:
            yield cursor
    except psycopg2.Error:
        connection.close()
        raise
    _idle.put(connection)
