"""The tracker as pages rendered on the server, in Flask."""
