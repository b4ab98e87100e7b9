"""Text of unknown origin on a terminal."""


def visible(text: str) -> str:
    """The text on one line, with everything that a terminal could obey (escape sequences, line ends, marks that turn
    the direction of writing) as backslash escapes."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)
