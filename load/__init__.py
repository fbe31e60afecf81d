"""Measures the code that the service runs: `make bench`, `make drive`, `make soak`.

    streams    seeded streams with known anomalies
    contender  what every forest that is measured must do, and how several take turns
    ours       this project's forest: a block a call, a record a call, two threads
    peers      krcf, rrcf, river, and who of them is there
    java_loop  AWS's Java forest in a process of its own (java/Loop.java)

    kernels    µs a record: forest against its peers
    score_only the same without learning
    calls      the same, one record a call from Python
    threads    the same, trees or series over two threads
    start      seconds of an import, of a first result, of a compilation
    memory     MB a forest, resident and on disk (probe: the process that it looks into)
    pipeline   records a second through the engine, without network
    kafka      records a second from topic to committed scores, what a record costs, how late it is
               (kafka_worker: a worker with a clock at each part)

    answers    what a forest says besides a score
    drive      open-loop traffic: the knee of each way in, latencies at 70 % of it
    soak       the same for half an hour, and whether the process grows
    sizes      what `rcf size` answers from
    driving    what these three have in common; ramp: what the knee is, and its search
    traffic    records of many series, some far more popular than others
    doors      ways in: http_door, kafka_door (kafka_traffic: librdkafka's clients)
    service    the service and a broker as processes (counted: with its tasks counted)
    latency    histograms; watch: what a process holds; chart: both as lines in one HTML file


    quality    decisions and scores on labelled streams, with the default: `make quality`
               (labelled: the data; the measures are in `service.evaluation`)
    compact    what small forests cost in quality
    forecast, imputation, frozen
               errors of forecasts and of filled gaps, and scoring without learning, likewise
    transforms scores of records that were put on scales of their own, and of mixed units

    report     one table for people, one JSON line for machines

Machines are noisy, so only ratios inside one run mean anything: variants take turns in short
blocks, each round gives one ratio, and the median over rounds is quoted.
"""
