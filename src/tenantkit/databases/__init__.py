"""The databases of a deployment: their engines, and connections to them."""
