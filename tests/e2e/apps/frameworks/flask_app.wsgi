"""Flask: pages, a form, sessions, streaming, a file in both directions."""

import io

from flask import Flask, Response, redirect, request, send_file, session, url_for

application = Flask(__name__)
application.secret_key = "only for the tests"


@application.get("/")
def index():
    return f"hello {session.get('name', 'stranger')} at {url_for('form', _external=True)}"


@application.post("/form")
def form():
    session["name"] = request.form["name"]
    return redirect(url_for("index"))


@application.post("/upload")
def upload():
    data = request.files["file"].read()
    return send_file(io.BytesIO(data[::-1]), download_name="reversed", mimetype="application/octet-stream")


@application.get("/stream")
def stream():
    return Response((f"{number}\n" for number in range(1000)), mimetype="text/plain")


@application.get("/fails")
def fails():
    raise RuntimeError("flask view")


@application.get("/json/<name>")
def as_json(name):
    return {"name": name, "query": request.args.get("q")}
