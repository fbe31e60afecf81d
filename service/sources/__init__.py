"""Built-in sources: records that `rcf dev` has from its first second.

`demo.py` computes labelled series (pure), `host.py` reads this machine, `feed.py` appends both to
the engine's log as any client would.
"""
