"""Engines: made from a URL or taken as given, and checked on their first connection."""
