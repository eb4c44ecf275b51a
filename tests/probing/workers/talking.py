"""Messages in the form in which they go over the socket between the daemon and a worker."""

from lvs_healthd.probing.workers import framing
from lvs_healthd.probing.workers.protocol import Said, Told, encoded


def frame(message: Told | Said) -> bytes:
    return framing.frame(encoded(message))
