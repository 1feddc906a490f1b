"""Modules for applications that mod_wsgi-express serves."""
