"""The tracker as pages that the server makes, in Flask."""
