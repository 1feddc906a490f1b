"""Django's handlers for authentication with Apache, as its documentation imports them, and a page."""

import os

os.environ["DJANGO_SETTINGS_MODULE"] = "mysite.settings"

from django.core.wsgi import get_wsgi_application

django_application = get_wsgi_application()

# Only now are the applications, and so the model of users, known.
from django.contrib.auth.handlers.modwsgi import check_password, groups_for_user


def application(environ, start_response):
    if environ["PATH_INFO"] == "/admin/":
        return django_application(environ, start_response)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ.get("REMOTE_USER", "nobody").encode()]
