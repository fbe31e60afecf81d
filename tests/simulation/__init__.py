"""The seeded world: workloads that always come out the same, and lives that end anywhere.

A life is a forked child of a warmed parent (compiled kernels come along, so that a start costs
milliseconds). It opens the log, goes on where the log says the workload stands, and is killed.
Whatever the deaths, results, dead letters and states must be those of one undisturbed life.
"""
