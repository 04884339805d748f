"""What ``benchmarks/rules.py`` is made of, and the programs it runs."""

from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
"""Where the programs are."""
