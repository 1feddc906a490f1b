def application(environ, start_response):
    page = b"""<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>mod_wsgi-express</title></head>
<body>
<h1>It works</h1>
<p>No WSGI script was named: start the server with <code>mod_wsgi-express start-server app.wsgi</code>
to see yours.</p>
</body>
</html>
"""
    headers = [("Content-Type", "text/html; charset=utf-8"), ("Content-Length", str(len(page)))]
    start_response("200 OK", headers)
    return [page]
