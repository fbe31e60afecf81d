"""What runs the service in earnest: image, compose file, manifests, rules, dashboards.

- `files`       where they are, and what stands in them
- `live`        workers on Kafka under load, and a Prometheus that scrapes them
- `container`   `make image-test`: the image built, and run read-only without rights
"""
