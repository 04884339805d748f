"""``python -m service.cli`` is the command ``gatewatch``."""

import sys

from service.cli.main import main

sys.exit(main())
