"""What the tests of the package, of the examples and of the documentation have in common."""

pytest_plugins = ["tests.support.databases"]
