"""The record of `[fleet]`: what several directors share."""

import msgspec


class Fleet(msgspec.Struct, frozen=True, kw_only=True):
    """What several directors share through etcd."""

    store: tuple[str, ...] = ()
    """The URLs of etcd's servers, which are asked in turn: one or a list, such as "https://etcd1.example.net:2379".
    Services are then followed in etcd too, besides those of the file. Default: none."""
    prefix: str = "/lvs-healthd/"
    """How the names of its keys begin. Directors with the same prefix have the same services."""
    ca: str = ""
    """PEM file of the certificates that are trusted; empty for those of the system."""
    user: str = ""
    """The user of etcd; empty if it lets everybody in."""
    password_file: str = ""
    """File that holds the user's password. It is read again for each login."""
    agree: int = 1
    """How many directors must see a server down so that it is taken out, this one included, while so many are heard."""
    name: str = ""
    """How this director is called among the others. Default: the host's name."""
