"""Start: `python -m service` is `rcf`."""

from service.cli.app import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
