"""The command `rcf`: `app.py` declares the commands, one file per command does the work.

Nothing heavy is imported before a command runs: `rcf --help` answers in a fraction of a second.
"""
