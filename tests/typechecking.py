"""What jaxtyping's import hook puts around public functions: beartype, for which an int may stand for a float."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
