"""A real Kafka broker for the tests, and the tests that need one.

- `jars`      the broker's class path, resolved by Maven from pom.xml beside this file, kept
- `broker`    one node on loopback: start, kill -9, freeze, wake, restart on the same directory
- `fixtures`  the session's broker, or the one that RCF_TEST_KAFKA=host:port names
- `secured`   one behind TLS and passwords, with an authority made for the moment
- `proxy`     stands before a broker: stalls, refuses, denies, drops, loses
- `owner`     a partition's owner who commits record by record; what the topics must hold then
- `workers`   workers as processes: killed, frozen, asked for their state
- `chaos`     `make chaos ARGS=kafka`: the long runs
- `probe`     what a plain client reads from topics
"""
