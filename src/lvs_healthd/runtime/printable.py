"""Makes text from outside (a server's answer, a file's name) safe to show on a terminal."""


def printable(text: str) -> str:
    """Escape control characters, line breaks and lone surrogates. So no real server can move the reader's cursor."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )
