"""Makes text from elsewhere (a server's answer, a file's name) safe to show on a terminal."""


def printable(text: str) -> str:
    """Write control characters, line breaks and lone surrogates as escapes: a real server must not move our cursor."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )
