"""The guestbook's pages. As PID 1, Python without a handler of its own ignores SIGTERM."""

import os
import time

import psycopg2
from flask import Flask, abort, jsonify, request

from store import cursor

RELEASE = os.environ["RELEASE"]
UPLOADS = os.environ["UPLOADS"]
app = Flask(__name__)


@app.after_request
def signed(answer):
    answer.headers["X-Version"] = RELEASE
    return answer


@app.get("/")
def index():
    with cursor() as db:
        db.execute("SELECT count(*) FROM entries")
        return f"release {RELEASE}\n{db.fetchone()[0]} entries\n"


@app.get("/up")
def up():
    try:
        with cursor() as db:
            db.execute("SELECT 1")
    except psycopg2.Error as error:
        abort(503, str(error))
    return "up\n"


@app.get("/entries")
def entries():
    with cursor() as db:
        db.execute("SELECT text FROM entries ORDER BY id")
        return jsonify([text for (text,) in db.fetchall()])


@app.post("/entries")
def sign():
    """An entry, and the job to thank for it: both or neither."""
    text = request.get_data(as_text=True)
    with cursor() as db:
        db.execute(
            "INSERT INTO entries (text, release) VALUES (%s, %s) RETURNING id", (text, RELEASE)
        )
        db.execute("INSERT INTO jobs (entry) VALUES (%s)", db.fetchone())
    return "signed\n", 201


@app.get("/report")
def report():
    """Takes its time, as reports do."""
    time.sleep(float(request.args.get("seconds", "3")))
    return index()


@app.put("/uploads/<name>")
def store(name):
    with open(os.path.join(UPLOADS, name), "wb") as file:
        file.write(request.get_data())
    return "stored\n", 201


@app.get("/uploads/<name>")
def fetch(name):
    try:
        with open(os.path.join(UPLOADS, name), "rb") as file:
            return file.read()
    except FileNotFoundError:
        abort(404)


if __name__ == "__main__":
    app.run(host="0.0.0.0", port=8000, threaded=True)
