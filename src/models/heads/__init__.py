"""Heads: feature maps in, a score map out."""
