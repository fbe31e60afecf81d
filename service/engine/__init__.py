"""The engine: a state machine over a partitioned log. It knows neither Kafka nor HTTP.

Map, in the order a record meets them:

- `config`      what a stream is; which changes need another model
- `records`     the facts that travel: records, batches, results, transactions
- `ports`       what the engine asks of the world: log, snapshot store, decoder, metrics, clock
- `outcome`     a result as readers get it
- `reasons`     what each feature contributes to a score
- `carried`     what of a record travels on with its result
- `pipeline`    one partition: a batch in, results out; sync and pure
- `asking`      questions to a series that change nothing of it
- `intake`      late and repeated records, counters that reset
- `detectors`   one detector per series: create, count, mark as changed
- `alerting`    what is told of grades: `rules` hold anomalies back, the others become incidents
- `rules`       which anomalies are held back
- `incidents`   anomalies that belong together: opened, updated, closed
- `feedback`    verdicts of people, and the factors of thresholds that agree with them
- `control`     configuration changes as records of the log
- `halting`     where too many dead letters stop a partition
- `snapshot`    a partition's state as immutable files
- `policy`      when to write a snapshot, when to trim, when to refuse
- `runner`      one partition's life: assign, restore, poll, process, commit
- `replay`      one record scored again, to compare it with what was published
- `rehearsal`   what a configuration would have made of records, without a log
- `checks`      what can be checked of every log, and how it is said
- `tail`        the last committed results, for readers that wait
- `reading`     pages of results, single ones, a feed; `newest`, the last of them
- `board`       the incidents of all partitions, as readers see them
- `engine`      the facade that the rest of the service talks to
- `errors`      who must act when something fails
"""
