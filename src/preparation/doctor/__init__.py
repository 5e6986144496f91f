"""Describe this machine. All modules import the standard library only, which may be all that works."""
