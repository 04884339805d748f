"""The command ``gatewatch``.

One module per group of commands. What a command needs is imported when it runs, so that ``--help``
and ``config`` answer at once. The environment is read in ``options`` and nowhere else.

Exit codes: 0 done, 1 what was checked is bad or something failed, 2 usage or configuration.
"""

from service.cli.main import main as main
