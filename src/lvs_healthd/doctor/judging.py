"""Judges what was seen: findings, without those that another one explains, and notes on what only looks odd. Pure."""

from collections.abc import Callable, Iterable, Iterator

import msgspec

from lvs_healthd.doctor import answers, arrival, certificates, settings, ways
from lvs_healthd.doctor.finding import Finding, Note, Sureness
from lvs_healthd.doctor.observations import Observations, Service

_JUDGES: tuple[Callable[[Observations], Iterator[Finding]], ...] = (
    arrival.table_unreadable,
    arrival.config_broken,
    arrival.service_missing,
    arrival.address_not_here,
    arrival.address_taken,
    arrival.input_dropped,
    arrival.mark_unset,
    arrival.nobody_serves,
    ways.link_down,
    ways.no_route,
    ways.server_absent,
    ways.dr_behind_router,
    ways.port_kept,
    ways.output_dropped,
    ways.address_missing_on_server,
    ways.tunnel_too_small,
    ways.backup_loops,
    answers.forwarding_off,
    answers.answers_dropped,
    answers.client_beside_servers,
    answers.one_packet_untranslated,
    answers.redirects_sent,
    answers.reverse_path_checked,
    answers.server_answers_elsewhere,
    arrival.ftp_helper_missing,
    certificates.certificates_differ,
    settings.setting_differs,
    settings.advised,
    settings.sticky_to_the_quiesced,
    settings.conntrack_full,
    settings.sync_interface_down,
    settings.daemon_troubled,
    settings.server_down,
)

_EXPLAINED = {
    "answers-elsewhere": frozenset(
        {
            "answers-dropped",
            "client-beside-servers",
            "forwarding-off",
            "link-down",
            "no-route",
            "one-packet-answers",
            "output-dropped",
            "redirects-sent",
            "reverse-path",
            "server-absent",
        }
    ),
    "address-missing": frozenset({"dr-behind-router", "link-down", "no-route", "server-absent", "output-dropped"}),
    "no-route": frozenset({"link-down"}),
    "setting-differs": frozenset({"table-unreadable"}),
}
"""The findings that are left out if one of these others is about the same server, or about all."""

MOST_OF_A_KIND = 10
"""How many findings of one kind are shown. The last one says how many more there are."""

_WORST = (Sureness.CERTAIN, Sureness.LIKELY, Sureness.POSSIBLE)


def judge(seen: Observations) -> list[Finding]:
    """Return every finding, the surest first."""
    found = [finding for each in _JUDGES for finding in each(seen)]
    return merged(_unexplained(found))


def notes(seen: Observations) -> list[Note]:
    """Return what looks odd and is well, and what could not be looked at."""
    found = [note for service in seen.services for note in _of_service(seen, service)]
    if seen.host.has_legacy_rules:
        found.append(Note(text="rules of the old iptables, which are not looked at: iptables-legacy -S FORWARD"))
    if seen.host.writers:
        found.append(Note(text=f"running here: {', '.join(seen.host.writers)}, which may write to the table too"))
    return found + [Note(text=f"not looked at: {text}") for text in seen.unseen]


def _of_service(seen: Observations, service: Service) -> Iterator[Note]:
    into = sum(server.after.in_packets for server in service.servers)
    out = sum(server.after.out_packets for server in service.servers)
    connections = sum(server.after.connections for server in service.servers)
    methods = {server.forward for server in service.servers}
    if into and not out and service.protocol == "udp" and not service.expects_answers and methods <= {"nat", "fullnat"}:
        yield Note(
            text=f"{into} packets in and none out: as it should be if nobody answers, as with traps and logs",
            service=service.name,
        )
        if not service.is_one_packet and len(service.servers) > 1 and connections * FEW_SENDERS < into:
            yield Note(
                text=f"{into} packets came from {connections} ports of clients, each of which stays with one server; "
                "one_packet = true spreads them",
                service=service.name,
            )
    if into and not out and methods <= {"dr", "tun"}:
        by = " and ".join(sorted(methods))
        yield Note(
            text=f"{into} packets in and none out: by {by}, answers do not pass the director",
            service=service.name,
        )
    quiet = sum(server.quiet for server in service.servers)
    if quiet and seen.host.timeouts is not None:
        timeout_s = seen.host.timeouts[0]
        yield Note(
            text=f"{quiet} open connections have been silent for more than {timeout_s // 2}s; the kernel forgets them "
            f"after {timeout_s}s, and clients that go on then are refused: [ipvs.timeouts] tcp",
            service=service.name,
        )
    if arrival.is_standby(seen, service):
        why = "this director waits for it"
        if arrival.is_withdrawn(seen, service):
            why = "it is not announced, because its services may not serve; lvs-healthd status says why"
        yield Note(text=f"{service.address} is not here: {why}", service=service.name)


FEW_SENDERS = 10
"""If each port of a client sends more packets than this, few clients make up the traffic."""


def _unexplained(found: Iterable[Finding]) -> Iterator[Finding]:
    kept = list(found)
    told = {(each.name, each.service, each.server) for each in kept}
    for each in kept:
        reasons = _EXPLAINED.get(each.name, frozenset())
        if not any((reason, each.service, each.server) in told or (reason, "", "") in told for reason in reasons):
            yield each


def merged(found: Iterable[Finding]) -> list[Finding]:
    """Return findings, the surest first. Those with the same cure are joined, and one kind has not too many."""
    kept: list[Finding] = []
    for each in found:
        like = [number for number, other in enumerate(kept) if other.name == each.name]
        same = [number for number in like if (kept[number].command, kept[number].on) == (each.command, each.on)]
        at = same[0] if same else like[-1] if len(like) >= MOST_OF_A_KIND else None
        if at is None:
            kept.append(each)
        else:
            # The one that was seen with more figures stands for all of them.
            shown = each if same and len(each.seen) > len(kept[at].seen) else kept[at]
            kept[at] = msgspec.structs.replace(shown, others=kept[at].others + 1)
    return sorted(kept, key=lambda each: _WORST.index(each.sureness))
