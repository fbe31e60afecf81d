"""What others write to the service and read from it: bodies, headers, topics, and their schemas.

Everything that is published about messages is made here, from the types that the code itself reads
and writes with. Nothing in here opens a connection or needs a client library.

- `record`    the input: flat JSON as HTTP and producers post it
- `headers`   names of Kafka headers
- `topics`    names of a stream's topics
- `pointer`   what the checkpoints topic says of a snapshot
- `stream`    what the control topic says of a stream
- `examples`  one message of each kind
- `schemas`   a JSON Schema for every message
- `asyncapi`  the AsyncAPI document over all of them
"""
