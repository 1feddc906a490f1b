"""Bottle, Falcon and Pyramid side by side: a greeting and a form each."""

import bottle
import falcon
from pyramid.config import Configurator
from pyramid.response import Response

bottle_app = bottle.Bottle()


@bottle_app.get("/hello/<name>")
def bottle_hello(name):
    return f"bottle {name}"


@bottle_app.post("/form")
def bottle_form():
    return f"bottle {bottle.request.forms.getunicode('name')}"


class Hello:
    def on_get(self, request, response, name):
        response.content_type = falcon.MEDIA_TEXT
        response.text = f"falcon {name}"


class Form:
    def on_post(self, request, response):
        response.content_type = falcon.MEDIA_TEXT
        response.text = f"falcon {request.get_media()['name']}"


falcon_app = falcon.App()
falcon_app.add_route("/hello/{name}", Hello())
falcon_app.add_route("/form", Form())


def make_pyramid():
    with Configurator() as config:
        config.add_route("hello", "/hello/{name}")
        config.add_route("form", "/form")
        config.add_view(lambda request: Response(f"pyramid {request.matchdict['name']}"), route_name="hello")
        config.add_view(lambda request: Response(f"pyramid {request.POST['name']}"), route_name="form")
        return config.make_wsgi_app()


APPLICATIONS = {"bottle": bottle_app, "falcon": falcon_app, "pyramid": make_pyramid()}


def application(environ, start_response):
    _, name, path = environ["PATH_INFO"].split("/", 2)
    environ["SCRIPT_NAME"] += "/" + name
    environ["PATH_INFO"] = "/" + path
    return APPLICATIONS[name](environ, start_response)
