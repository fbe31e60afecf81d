"""The world behind the engine's ports: logs, snapshot files, codecs, clocks, metrics."""
