"""Answers every datagram with itself, and `count?` with the number of its answers so far. It is a separate program."""

import socket
import sys

IP_PKTINFO = 8  # linux/in.h; Python names it from 3.14 on
CONTROL_BYTES = 64
_BUFFER_BYTES = 8 << 20


def main() -> None:
    """Answer forever, on every address and the port given on the command line."""
    served = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        # Answers must come from the address that was asked. A wildcard socket would choose 127.0.0.1.
        server.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        server.bind(("", int(sys.argv[1])))
        while True:
            data, control, _, peer = server.recvmsg(2048, CONTROL_BYTES)
            if data == b"count?":
                data = str(served).encode()
            else:
                served += 1
            server.sendmsg([data], control, 0, peer)


if __name__ == "__main__":
    main()
