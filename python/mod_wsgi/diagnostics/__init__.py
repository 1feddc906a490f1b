"""Applications that show whether, and how, a server works."""
