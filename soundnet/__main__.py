"""`python -m soundnet` is the `soundnet` command."""

import sys

from soundnet.cli import main

sys.exit(main())
