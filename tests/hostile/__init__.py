"""Bad inputs for every reader and flag, and what the experiments make of them.

python -m tests.hostile

Each case is one command with an input that no run can use, run as a process of its own
(a fork of one that has imported everything). What is wanted is one `error:` line and
exit status 2; see `verdict.py` for all else that can come of it.
"""
