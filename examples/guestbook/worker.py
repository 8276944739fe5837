"""Thanks everybody who has signed. Takes jobs without a lock, as there is only ever one worker.

Each shift is a row: when it began and ended, and whether another worker was met in it.
"""

import os
import signal
import time

from store import connect

stopping = False


def stop(*_):
    # Nothing but this: an Event's lock may be held by what the signal has interrupted.
    global stopping
    stopping = True


signal.signal(signal.SIGTERM, stop)

connection = connect()
connection.autocommit = True
db = connection.cursor()

# Held as long as this connection is; whoever does not get it has met another at work.
db.execute("SELECT pg_try_advisory_lock(1)")
alone = db.fetchone()[0]
db.execute(
    "INSERT INTO shifts (release, met_another) VALUES (%s, %s) RETURNING id",
    (os.environ["RELEASE"], not alone),
)
shift = db.fetchone()[0]
print("at work", flush=True)

while not stopping:
    db.execute("SELECT id, entry FROM jobs WHERE done_in IS NULL ORDER BY id LIMIT 1")
    job = db.fetchone()
    if job is None:
        time.sleep(0.05)
        continue
    (number, entry) = job
    # The work itself. A second worker would do the same job meanwhile.
    time.sleep(0.01)
    with connection:
        db.execute("INSERT INTO thanks (entry, shift) VALUES (%s, %s)", (entry, shift))
        db.execute("UPDATE jobs SET done_in = %s WHERE id = %s", (shift, number))

db.execute("UPDATE shifts SET ended = clock_timestamp() WHERE id = %s", (shift,))
print("off work", flush=True)
