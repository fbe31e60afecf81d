"""A real Kafka broker for the tests, and the tests that need one.

- `jars`      the broker's class path, resolved by Maven from pom.xml beside this file, kept
- `broker`    one node on loopback: start, kill -9, freeze, wake, restart on the same directory
- `fixtures`  the session's broker, or the one that RCF_TEST_KAFKA=host:port names
- `probe`     what a plain client reads from topics
"""
