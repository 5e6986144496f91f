"""Where the YAML groups are: beside src/ in a checkout, inside the package once it is installed."""

from pathlib import Path

PACKAGE = Path(__file__).parents[1]
CONF = PACKAGE / "conf" if (PACKAGE / "conf").is_dir() else PACKAGE.parent / "conf"
