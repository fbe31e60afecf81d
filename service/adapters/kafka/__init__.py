"""The log in Kafka's topics: what several workers run on, each kill -9 safe.

- `connection`  address, security, bounds; the client library's errors in the engine's words
- `greeting`    whether a broker lets us in, and if not, which setting to look at
- `names`       topics and ids of a stream
- `formats`     records <-> bytes and headers
- `producer`    the guard: transactions, appends, and the rules that keep them safe
- `reader`      cursors over partitions
- `topics`      makes, checks, trims and deletes topics
- `stream_topics`  makes and deletes those of one stream
- `catalogue`   the streams, in a compacted control topic
- `membership`  the consumer group: whose a partition is
- `partition`   one owned partition: taking over, polling, committing
- `results`     committed results by input offset
- `followers`   results of partitions that other workers run
- `standing`    where a partition stands: offset and pointers
- `prober`      what brokers say of themselves, for those who examine them
- `topic_checks`, `doctor`  what is wrong with topics, and with all the rest
- `log`         the port
- `view`        the same topics for those who only look
"""

from service.adapters.kafka.connection import Connection, Security
from service.adapters.kafka.log import KafkaLog
from service.adapters.kafka.view import KafkaView

__all__ = ["Connection", "KafkaLog", "KafkaView", "Security"]
