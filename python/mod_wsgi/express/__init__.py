"""What applications that mod_wsgi-express serves may use."""
