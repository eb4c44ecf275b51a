"""A UDP service as a program: answers each datagram with its bytes in hexadecimal, a blank and the server's name.

    udp_server.py NAME PORT,... ADDRESS...

The service has a socket for each address, because an answer must come from the address that was asked. A socket for all
addresses would answer from the interface's address, and not from a VIP on lo. The service prints one line when it
listens. It uses only light modules of the standard library, because an emulated guest takes long to import. `lab.udp`
starts it.
"""

import contextlib
import selectors
import socket
import sys


def main(name: bytes, ports: list[int], addresses: list[str]) -> None:
    """Answer until killed."""
    selector = selectors.DefaultSelector()
    for address in addresses:
        for port in ports:
            listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
            listener.setblocking(False)
            listener.bind((address, port))
            selector.register(listener, selectors.EVENT_READ)
    print("listening", flush=True)
    while True:
        for key, _ in selector.select():
            # The datagram may be gone, or the error may be about an earlier answer that reached nobody.
            with contextlib.suppress(OSError):
                answer(key.fileobj, name)  # type: ignore[arg-type]  # it is what was registered


def answer(listener: socket.socket, name: bytes) -> None:
    """Answer one datagram."""
    question, client = listener.recvfrom(4096)
    listener.sendto(question.hex().encode() + b" " + name, client)


if __name__ == "__main__":
    main(sys.argv[1].encode(), [int(port) for port in sys.argv[2].split(",")], sys.argv[3:])
