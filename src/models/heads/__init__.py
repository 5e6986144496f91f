"""Heads, which turn feature maps into a score map."""
