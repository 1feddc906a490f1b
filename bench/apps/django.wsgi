"""hello as people write it with Django: the middleware of a new project that needs no database."""

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import re_path

settings.configure(
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="benchmark",
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
    ],
)


def hello(request):
    return HttpResponse("Hello World!\n", content_type="text/plain")


urlpatterns = [re_path("", hello)]
# As a module of its own the script need not be importable by its name.
settings.ROOT_URLCONF = type("urls", (), {"urlpatterns": urlpatterns})
application = get_wsgi_application()
