"""Django with SQLite: the admin, a form with CSRF protection, static files, a file up and down."""

import os
import sys

import django
from django.conf import settings
from django.core.management import call_command

ROOT = os.path.join(os.path.dirname(os.path.dirname(__file__)), "django")
URL = "/django"

settings.configure(
    DEBUG=False,
    SECRET_KEY="only for the tests",
    ALLOWED_HOSTS=["localhost"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=[
        "django.contrib.admin",
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "django.contrib.messages",
        "django.contrib.staticfiles",
    ],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ],
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {
                "context_processors": [
                    "django.template.context_processors.request",
                    "django.contrib.auth.context_processors.auth",
                    "django.contrib.messages.context_processors.messages",
                ]
            },
        }
    ],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.path.join(ROOT, "db.sqlite3")}},
    STATIC_URL=URL + "/static/",
    STATIC_ROOT=os.path.join(ROOT, "static"),
    MEDIA_ROOT=os.path.join(ROOT, "media"),
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
)
django.setup()

if __name__ == "__main__":
    call_command("migrate", verbosity=0)
    call_command("collectstatic", interactive=False, verbosity=0)
    from django.contrib.auth.models import User

    User.objects.create_superuser("admin", "admin@example.com", "a long password")
    sys.exit()

from django.contrib import admin
from django.core.files.storage import default_storage
from django.core.wsgi import get_wsgi_application
from django.http import FileResponse, HttpResponse
from django.middleware.csrf import get_token
from django.urls import path


def form(request):
    if request.method == "POST":
        return HttpResponse(f"posted {request.POST['text']}")
    return HttpResponse(f"token={get_token(request)}")


def upload(request):
    name = default_storage.save("upload", request.FILES["file"])
    return HttpResponse(f"name={name}")


def download(request, name):
    return FileResponse(default_storage.open(name))


urlpatterns = [
    path("admin/", admin.site.urls),
    path("form", form),
    path("upload", upload),
    path("download/<name>", download),
]

application = get_wsgi_application()
