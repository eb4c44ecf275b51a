"""Has the checks of the real ldirectord ask the servers of `talks.py`, and prints where it finds something else.

    python3 -m tests.importers.ldirectord.oracle_outcomes /usr/sbin/ldirectord

It needs what `oracle.py` needs, and runs outside CI.
"""

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from tests.importers.ldirectord.oracle import BEGIN, END
from tests.importers.ldirectord.talks import TALKS, Talk, reply, text_of

CHECK = """
$DEBUG = 0;
$HOSTNAME = "director";
$CONFIG = $ARGV[0];
$DAEMON_STATUS = $DAEMON_STATUS_STARTING;
my $found = "nothing";
*service_set = sub { $found = $_[2]; };
*ld_log = sub { };
read_config();
ld_setup();
my $v = $VIRTUAL[0];
_check_real($v, $$v{real}->[0]);
print STDOUT "FOUND $found\\n";
CORE::exit(0);
"""


def serve(talk: Talk, listener: socket.socket) -> None:
    """Answer every connection."""
    while True:
        connection, _ = listener.accept()
        connection.settimeout(5)
        try:
            connection.sendall(talk.greeting)
            while heard := connection.recv(65536):
                answer = reply(talk, heard)
                connection.sendall(answer)
                if talk.closes and answer:
                    break
        except OSError:
            pass
        connection.close()


def found(script: str, talk: Talk) -> bool:
    """Return whether ldirectord finds a server up."""
    before, _, rest = script.partition(BEGIN)
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=serve, args=(talk, listener), daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "ldirectord").write_text(before + CHECK + rest[rest.index(END) :], encoding="utf-8")
        Path(folder, "a.cf").write_text(text_of(talk, listener.getsockname()[1]), encoding="utf-8")
        run = subprocess.run(
            ["perl", "ldirectord", "a.cf"],
            cwd=folder,
            env=dict(os.environ),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    if "FOUND up" not in run.stdout and "FOUND down" not in run.stdout:
        sys.exit(f"{talk.name}: {run.stdout} {run.stderr}")
    return "FOUND up" in run.stdout


def main() -> None:
    """Compare all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("script", type=Path, help="the program ldirectord")
    script = parser.parse_args().script.read_text(encoding="utf-8")
    for talk in TALKS:
        is_up = found(script, talk)
        word = "same" if is_up == talk.is_up else "OTHER"
        sys.stdout.write(f"{word}: {talk.name}: {'up' if is_up else 'down'}\n")


if __name__ == "__main__":
    main()
