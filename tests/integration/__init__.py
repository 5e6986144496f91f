"""Whole commands, from their arguments to the files they write; all other folders of tests mirror src/."""
