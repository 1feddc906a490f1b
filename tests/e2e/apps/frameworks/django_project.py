# Added to the urls.py that `startproject` makes.
import os

import django
from django.conf import settings
from django.http import HttpResponse

from shop import texts


def where(request):
    values = {
        "pid": os.getpid(),
        "django": django.get_version(),
        "settings": os.environ["DJANGO_SETTINGS_MODULE"],
        "debug": settings.DEBUG,
        "directory": os.getcwd(),
        "express": os.environ.get("MOD_WSGI_EXPRESS"),
        "script_name": request.META["SCRIPT_NAME"],
        "text": texts.TEXT,
    }
    return HttpResponse("".join(f"{name}\t{value}\n" for name, value in values.items()), content_type="text/plain")


urlpatterns.append(path("where/", where))  # noqa: F821
