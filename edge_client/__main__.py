"""`python -m edge_client` is `fedloom-edge`."""

import sys

from edge_client.cli import main

sys.exit(main())
