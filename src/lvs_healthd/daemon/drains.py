"""Says what will keep sending clients to a server that is drained, so that nobody waits for it in vain."""

from collections.abc import Iterable, Iterator

from lvs_healthd.config.basics import Protocol
from lvs_healthd.config.model import Mode, Service
from lvs_healthd.decide.held import ServerState

_HASHING = {"sh": "sh-fallback", "mh": "mh-fallback", "dh": ""}
"""The schedulers that choose a server by a hash, and the flag with which they take another one."""


def drain_advice(servers: Iterable[ServerState]) -> Iterator[str]:
    """Yield a sentence for each thing that clients of these servers will meet, once for each service."""
    for service in {server.service.config.name: server.service.config for server in servers}.values():
        yield from (f"{service.name}: {text}" for text in _of(service))


def _of(service: Service) -> Iterator[str]:
    if service.mode is Mode.SHADOW:
        yield "its mode is shadow: nothing of it is written, so its servers go on serving"
    if service.persistence:
        yield (
            f"clients stay with their server for up to {service.persistence:g}s after their last connection, and come "
            "back to it even at weight 0, unless [ipvs.sysctl] expire_quiescent_template = true"
        )
    fallback = _HASHING.get(service.scheduler)
    if fallback is not None and (not fallback or fallback not in service.scheduler_flags):
        with_flag = f', unless scheduler_flags = ["{fallback}"]' if fallback else ""
        yield f"the scheduler {service.scheduler} refuses the new clients whose hash is that of the server{with_flag}"
    if service.protocol is Protocol.UDP and not service.one_packet:
        yield "a udp flow lasts as long as its client goes on sending, within the kernel's timeout of 300s by default"
