"""The tracker as a JSON API with a small page, in FastAPI."""
