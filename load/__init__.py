"""Measures the code that the service runs: `make bench`.

    streams   seeded streams with known anomalies
    kernels   µs a record: forest against krcf, in turns
    pipeline  records a second through the engine, without network
    http      records a second posted to a real server in batches
    report    one table for people, one JSON line for machines

Machines are noisy, so only ratios inside one run mean anything: variants take turns in short
blocks, each round gives one ratio, and the median over rounds is quoted.
"""
