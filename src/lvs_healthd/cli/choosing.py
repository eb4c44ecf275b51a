"""Chooses the services and real servers that an operator names on the command line."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Annotated

import typer

from lvs_healthd.view.naming import UnknownNameError, canonical, spellings

WhatArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="[SERVICE|SERVER]...", help="Only these, by name or address.", show_default="all"),
]
DownOption = Annotated[bool, typer.Option("--down", help="Only what is bad.")]


def chosen(words: Sequence[str], services: Mapping[str, tuple[str, Collection[str]]]) -> Callable[[str, str], bool]:
    """Return a function that takes a service's name and a server's address, and returns whether the words mean both.

    words: names and addresses of services, and addresses of servers. If no word names a service, all services are
        meant. If no word names a server, all servers are meant.
    services: each service's address and its servers' addresses, by the service's name.

    Raises `UnknownNameError` when a word names nothing, or when none of the named services has a named server.
    """
    names: set[str] = set()
    servers: set[str] = set()
    everything = {server for _, members in services.values() for server in members}
    for word in words:
        spelled = canonical(word)
        found = {name for name, (address, _) in services.items() if word == name or spelled in spellings(address)}
        if found:
            names |= found
            continue
        members = {server for server in everything if spelled in spellings(server)}
        if not members:
            raise UnknownNameError(f'no service or real server is called "{word}" or has that address')
        servers |= members

    def is_meant(name: str, server: str) -> bool:
        return (not names or name in names) and (not servers or server in servers)

    if names and servers and not any(is_meant(name, each) for name in names for each in services[name][1]):
        raise UnknownNameError(f"none of these services has such a real server: {' '.join(words)}")
    return is_meant
