"""Leave user names, passwords and tokens out of texts that hold addresses."""

import re
from textwrap import shorten

USER = (  # user name and password: up to the last @ before the path; if they hold a colon, up to the last @ of all
    r"[^\s/?#@:]*:(?!\d*(?:[/?#]|$))(?:(?!,[\w.+~]+=|://)\S)*@(?!sha256[:=])|[^\s/?#]*@(?!sha256[:=])"
)
SECRETS = re.compile(rf"(\w://)(?:{USER})?([^?\s,'\"\]]*)(?:\?[^\s'\"\]]*?(?=:?(?:[\s'\"\]]|$)))?", re.IGNORECASE)


def hide_secrets(text: str) -> str:
    """Return a text in which addresses have neither user name nor password, and no query, which may hold a token."""
    return SECRETS.sub(r"\1\2", text)


def summary(error: Exception) -> str:
    """Return an error in one line of at most 200 characters."""
    return shorten(hide_secrets(" ".join(str(error).split())) or type(error).__name__, 200, placeholder=" ...")
