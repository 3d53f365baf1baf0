"""One format of data set a file; `cnnjax.data.load` imports the one that is asked for."""
