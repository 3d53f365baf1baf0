"""Formats of data sets, one a file; `cnnjax.data.load` imports the one it needs."""
