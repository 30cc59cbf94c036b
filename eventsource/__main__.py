"""`python -m eventsource` is the command `eventsource`."""

import sys

from eventsource.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
