"""Commands that go on until they are stopped."""

from masklet.cli.server import serve

__all__ = ["serve"]
