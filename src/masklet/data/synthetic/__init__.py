"""Scenes made from nothing but a seed, and scenes composed of cut-outs: exact masks and exhaustive phrases for free."""
