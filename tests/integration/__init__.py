"""Whole commands, from their arguments to the files they leave; all other folders of tests mirror src/."""
