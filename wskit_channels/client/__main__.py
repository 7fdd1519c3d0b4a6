"""``python -m wskit_channels.client URL``: the probe."""

import sys

from wskit_channels.client.probe import main

if __name__ == "__main__":
    sys.exit(main())
