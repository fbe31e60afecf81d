"""The service around the library `rcf`: engine, adapters, HTTP and command line."""
