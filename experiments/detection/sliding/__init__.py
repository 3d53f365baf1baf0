"""The sliding-window detector: its windows, its mining, its task."""
