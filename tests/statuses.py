"""Examples of a status, of samples and of a listing, with everything that their readers must handle."""

from lvs_healthd.ipvs.kernel.statistics import ServiceStatistics, Statistics, encoded
from lvs_healthd.ipvs.records import DestinationKey
from lvs_healthd.ipvs.words import AF_INET
from lvs_healthd.view.agreement_values import AgreementStatus, DirectorStatus, VetoStatus
from lvs_healthd.view.announce_values import AnnounceStatus
from lvs_healthd.view.director_values import DirectorValues, ServiceConfiguration, SyncValues, TimeoutValues
from lvs_healthd.view.hold_values import BrakeStatus, HoldStatus
from lvs_healthd.view.source_values import SourceStatus
from lvs_healthd.view.status_values import (
    CheckStatus,
    DaemonStatus,
    RealServerStatus,
    Samples,
    ServiceSamples,
    ServiceStatus,
    Status,
    TrackStatus,
)
from lvs_healthd.view.store_values import StoreStatus
from lvs_healthd.view.table_values import (
    Difference,
    ListedServer,
    ListedService,
    Listing,
    ServerFields,
    ServiceFields,
    State,
)
from lvs_healthd.view.why_values import (
    CheckWhy,
    CourseValues,
    DampingWhy,
    KeptBack,
    KernelWhy,
    Layers,
    OrderWhy,
    PastWhy,
    PlanWhy,
    ServerWhy,
    StreakValues,
    Why,
)

NOW = 1_700_000_000.0

KEY = DestinationKey(AF_INET, "198.51.100.1", 80)
STATISTICS = Statistics(3, 5, 2, 1000, 12_000, 11_000, 1_300_000, 2**40, 10, 120, 110, 13_000, 99_000)
"""What every line that has been counted is given."""


def director() -> DirectorValues:
    return DirectorValues(
        run="5f2c",
        at=NOW,
        version="0.1",
        sysctls={"net.ipv4.ip_forward": "1"},
        timeouts=TimeoutValues(tcp=900, tcp_fin=120, udp=300),
        sync=(SyncValues(role="master", interface="eth1", syncid=7, group="224.0.0.81", port=8848),),
        services=(
            ServiceConfiguration(
                service="web", address="192.0.2.1:80/tcp", settings={"scheduler": "wrr"}, checks="00aa11bb22cc33dd"
            ),
        ),
    )


def daemon(
    *,
    mode: str = "enforce",
    config_error: str = "",
    config_remarks: tuple[str, ...] = (),
    table_error: str = "",
    last_resync: float | None = NOW - 3.25,
    probes_unsure: int = 0,
    table_fights: int = 0,
    setting_error: str = "",
    network_faults: tuple[str, ...] = (),
    setting_advice: tuple[str, ...] = (),
    state_error: str = "",
    hook_errors: tuple[str, ...] = (),
    clock_suspected: str = "",
    holds: tuple[HoldStatus, ...] = (),
    brakes: tuple[BrakeStatus, ...] = (),
    maintenance_error: str = "",
    maintenance_unused: tuple[str, ...] = (),
    pair_error: str = "",
    track: TrackStatus | None = None,
    announced: tuple[AnnounceStatus, ...] = (),
    announced_foreign: tuple[str, ...] = (),
    sources: tuple[SourceStatus, ...] = (),
    store: StoreStatus | None = None,
    agreement: AgreementStatus | None = None,
) -> DaemonStatus:
    return DaemonStatus(
        version="0.1.0",
        pid=812,
        mode=mode,
        table="IPVS 1.2.1",
        started=NOW - 7200,
        config_file="/etc/lvs-healthd/config.toml",
        config_loaded=NOW - 3600,
        config_error=config_error,
        config_remarks=config_remarks,
        last_resync=last_resync,
        resync_s=10.0,
        probe_workers=1,
        probes=7,
        probes_unsure=probes_unsure,
        unsure_reason="our file descriptors are used up: raise LimitNOFILE" if probes_unsure else "",
        table_fights=table_fights,
        table_error=table_error,
        setting_error=setting_error,
        network_faults=network_faults,
        setting_advice=setting_advice,
        state_error=state_error,
        hook_errors=hook_errors,
        clock_suspected=clock_suspected,
        holds=holds,
        brakes=brakes,
        maintenance_files=3,
        maintenance_error=maintenance_error,
        maintenance_unused=maintenance_unused,
        maintenance_unused_files=len(maintenance_unused),
        pair_error=pair_error,
        track=track,
        announced=announced,
        announced_foreign=announced_foreign,
        sources=sources,
        store=store,
        agreement=agreement,
    )


def check(
    verdict: str,
    reason: str,
    *,
    name: str = "http",
    latency_s: float | None = 0.0021,
    certificate_end: float | None = None,
    remark: str = "",
) -> CheckStatus:
    return CheckStatus(
        name=name,
        type="http",
        target="198.51.100.11:80",
        verdict=verdict,
        reason=reason,
        passes=2 if verdict == "up" else 0,
        failures=3 if verdict == "down" else 0,
        latency_s=latency_s,
        last_probe=None if latency_s is None else NOW - 1,
        certificate_end=certificate_end,
        remark=remark,
    )


def real_server(
    server: str,
    verdict: str = "up",
    reason: str = "status 200",
    *,
    since: float | None = NOW - 600,
    weights: tuple[int, int | None, int | None] = (1, 1, 1),
    fallback: bool = False,
    latency_s: float | None = 0.0021,
    certificate_end: float | None = None,
    remark: str = "",
) -> RealServerStatus:
    configured, wanted, actual = weights
    return RealServerStatus(
        server=server,
        verdict=verdict,
        reason=reason,
        since=since,
        weight_configured=configured,
        weight_wanted=wanted,
        weight_actual=actual,
        fallback=fallback,
        checks=()
        if fallback
        else (check(verdict, reason, latency_s=latency_s, certificate_end=certificate_end, remark=remark),),
    )


def service(
    name: str,
    *real_servers: RealServerStatus,
    in_fallback: bool = False,
    in_sync: bool = True,
    held_by: str = "",
    role: str = "",
    suspended: bool = False,
) -> ServiceStatus:
    return ServiceStatus(
        service=name,
        address="192.0.2.100:80/tcp",
        scheduler="wrr",
        forward="nat",
        in_fallback=in_fallback,
        in_sync=in_sync,
        held_by=held_by,
        role=role,
        vip="192.0.2.100" if role else "",
        role_since=NOW - 30 if role else None,
        suspended=suspended,
        real_servers=real_servers,
    )


HOLD = HoldStatus(service="web", address="192.0.2.100:80/tcp", since=NOW - 60, uid=0, reason="new switch")


BRAKE = BrakeStatus(way="eth1", since=NOW - 5, silent=9, targets=10, cause="our interface eth1 has no carrier")


TRACK = TrackStatus(file="/run/lvs-healthd/track", value=0, reason="every tracked service may serve")


ANNOUNCED = AnnounceStatus(
    vip="192.0.2.100",
    interface="lvs0",
    services=("web",),
    wanted=True,
    present=True,
    since=NOW - 600,
    reason="web: enough real servers may serve",
)


SOURCE = SourceStatus(source="file /etc/web.list", services=("web",), servers=3, changed=NOW - 600)


STORE = StoreStatus(
    endpoints=("https://etcd1.example.net:2379",),
    prefix="/lvs-healthd/",
    services=3,
    revision=45,
    changed=NOW - 600,
    heard=NOW - 2,
)


AGREEMENT = AgreementStatus(
    director="lvs1",
    agree=3,
    heard=1,
    directors=(
        DirectorStatus(director="lvs2", age_s=1.5, is_heard=True, at=NOW - 60, not_up=2),
        DirectorStatus(director="lvs3", age_s=61.0, is_heard=False, at=NOW - 120),
        DirectorStatus(director="lvs4", age_s=1.5, is_heard=False, error="its format is 2"),
    ),
    vetoes=(
        VetoStatus(
            service="web",
            server="198.51.100.11:80",
            reason="seen up by lvs2: 1 of 2 needed see it down",
            since=NOW - 20,
            until=NOW + 280,
        ),
    ),
    vetoed=1,
)


async def sampled() -> Samples:
    """Return samples in which every metric has a value."""
    checked = service("checked", real_server("198.51.100.99:80", "up", fallback=True), role="standby")
    services = (*status().services, checked)
    return samples(
        Status(
            daemon=daemon(
                holds=(HOLD,),
                brakes=(BRAKE,),
                track=TRACK,
                announced=(ANNOUNCED,),
                sources=(SOURCE,),
                store=STORE,
                agreement=AGREEMENT,
            ),
            services=services,
        )
    )


def samples(status: Status) -> Samples:
    """Return the samples that belong to `status`."""
    return Samples(daemon=status.daemon, services=tuple(_service_samples(service) for service in status.services))


def _service_samples(service: ServiceStatus) -> ServiceSamples:
    servers = [server for server in service.real_servers if not server.fallback]
    # By name, because a fallback server may be one of the real servers. And one that nobody has configured.
    counted = dict.fromkeys(server.server for server in service.real_servers if server.weight_actual is not None)
    lines = [*counted, None]
    return ServiceSamples(
        name=service.service,
        in_fallback=service.in_fallback,
        below=service.below,
        in_sync=service.in_sync,
        is_shadow=service.held_by == "shadow",
        role=service.role,
        suspended=service.suspended,
        fallback_verdicts=[
            (server.server, server.verdict)
            for server in service.real_servers
            if server.fallback and server.verdict != "unchecked"
        ],
        servers=[server.server for server in servers],
        verdicts=[server.verdict for server in servers],
        since=[server.since or 0.0 for server in servers],
        weights_configured=[server.weight_configured for server in servers],
        weights_wanted=[server.weight_wanted for server in servers],
        weights_actual=[server.weight_actual for server in servers],
        latencies=[
            (server.server, check.name, check.latency_s)
            for server in servers
            for check in server.checks
            if check.latency_s is not None
        ],
        servers_damped=sum(server.state == "damped" for server in servers),
        checks_stale=sum("only held" in check.remark for server in servers for check in server.checks),
        certificates_ending=sum(bool(check.remark) for server in servers for check in server.checks),
        certificate_ends=[
            (server.server, check.name, check.certificate_end)
            for server in servers
            for check in server.checks
            if check.certificate_end is not None
        ],
        overrides=[("198.51.100.1:80", "drain", NOW - 60)],
        statistics=ServiceStatistics((KEY,) * len(lines), encoded(STATISTICS) * (1 + len(lines)))
        if service.in_sync
        else None,
        counted=lines if service.in_sync else [],
        is_persistent=True,
    )


def status() -> Status:
    """Return a status of two services: one has a single dead server, the other is in fallback and not in sync."""
    return Status(
        daemon=daemon(),
        services=(
            service(
                "web",
                real_server("198.51.100.11:80", weights=(2, 2, 2), certificate_end=NOW + 86400.0),
                real_server("198.51.100.12:80", "down", "connection refused", since=NOW - 65, weights=(2, None, None)),
                real_server("198.51.100.13:80", "unknown", "", weights=(1, 1, 1), latency_s=None),
            ),
            service(
                'odd "name"\\',
                real_server("[2001:db8::11]:8080", "down", "no answer in 1s", weights=(1, None, 1)),
                real_server(
                    "[2001:db8::99]:8080",
                    "unchecked",
                    "no real server may serve",
                    since=None,
                    weights=(1, 1, None),
                    fallback=True,
                ),
                in_fallback=True,
                in_sync=False,
            ),
        ),
    )


def server_fields(weight: int, forward: str = "nat") -> ServerFields:
    return ServerFields(forward=forward, weight=weight, upper_threshold=0, lower_threshold=0, tunnel="none")


def listed_server(
    server: str,
    state: State = State.OK,
    *,
    verdict: str = "up",
    reason: str = "status 200",
    weights: tuple[int | None, int | None] = (1, 1),
    differences: tuple[Difference, ...] = (),
    statistics: Statistics = STATISTICS,
) -> ListedServer:
    actual, wanted = [None if weight is None else server_fields(weight) for weight in weights]
    return ListedServer(
        server=server,
        state=state,
        differences=differences,
        actual=actual,
        wanted=wanted,
        verdict=verdict,
        reason=reason,
        statistics=None if actual is None else statistics,
    )


def listed_service(
    service: str,
    address: str,
    *servers: ListedServer,
    state: State = State.OK,
    differences: tuple[Difference, ...] = (),
    persistence: str = "off",
) -> ListedService:
    fields = ServiceFields(scheduler="wrr", persistence=persistence, netmask="/32", flags="none", engine="none")
    return ListedService(
        service=service,
        address=address,
        state=state,
        differences=differences,
        actual=None if state is State.MISSING else fields,
        wanted=None if state in (State.FOREIGN, State.EXTRA) else fields,
        statistics=None if state is State.MISSING else STATISTICS,
        servers=servers,
    )


def listing() -> Listing:
    """Return a listing with one line of every state."""
    return Listing(
        daemon=daemon(),
        services=(
            listed_service(
                "web",
                "192.0.2.100:80/tcp",
                listed_server("198.51.100.11:80"),
                listed_server(
                    "198.51.100.12:80",
                    State.DIFFERS,
                    weights=(3, 1),
                    differences=(Difference(field="weight", actual="3", wanted="1"),),
                ),
                listed_server("198.51.100.13:80", State.MISSING, weights=(None, 1)),
                listed_server(
                    "198.51.100.14:80", State.OUT, verdict="down", reason="connection refused", weights=(None, None)
                ),
                listed_server("198.51.100.66:80", State.EXTRA, verdict="", reason="", weights=(7, None)),
                persistence="300s",
            ),
            listed_service("dns", "[2001:db8::53]:53/udp", state=State.MISSING),
            listed_service(
                "",
                "192.0.2.250:8080/tcp",
                listed_server("198.51.100.77:8080", State.FOREIGN, verdict="", reason="", weights=(7, None)),
                state=State.FOREIGN,
            ),
        ),
    )


def why() -> Why:
    """Return an answer about a server that has failed, passed and begun to fail again."""
    failed = StreakValues(
        outcome="down",
        reason="bad_status",
        detail="status 503, expected 200-299",
        began=NOW - 7,
        ended=NOW - 3,
        times=3,
    )
    passed = StreakValues(
        outcome="up", reason="passed", detail="status 200", began=NOW - 90_000, ended=NOW - 9, times=256
    )
    once = StreakValues(
        outcome="down", reason="timeout", detail="no answer in 1s", began=NOW - 91_000, ended=NOW - 91_000, times=1
    )
    course = CourseValues(total_s=0.0123, connected_s=0.0004, answered_s=0.012, heard='"HTTP/1.1 503 \\x0d\\x0a"')
    http = CheckWhy(
        name="http",
        type="http",
        target="198.51.100.11:80",
        verdict="up",
        since=NOW - 90_000,
        passes=0,
        failures=2,
        rise=2,
        fall=3,
        interval_s=2.0,
        timeout_s=1.0,
        last_probe=NOW - 3,
        course=course,
        last_failed=course,
        streaks=(once, passed, failed),
        pace_s=0.5,
    )
    new = CheckWhy(
        name="port",
        type="tcp",
        target="198.51.100.11:81",
        verdict="unknown",
        since=NOW - 60,
        passes=1,
        failures=0,
        rise=2,
        fall=3,
        interval_s=2.0,
        timeout_s=1.0,
        last_probe=None,
        course=None,
        last_failed=None,
        streaks=(),
    )
    server = ServerWhy(
        service="web",
        server="198.51.100.11:80",
        verdict="up",
        reason="status 503, expected 200-299",
        since=NOW - 90_000,
        weight_configured=3,
        weight_wanted=3,
        weight_actual=None,
        table_reason="",
        checks=(http, new),
        layers=Layers(
            orders=(OrderWhy(kind="weight", text="weight 3 by uid 0: new disks", since=NOW - 3600, until=NOW + 3600),),
            damping=DampingWhy(flaps_since=NOW - 600, reason="it fell 4 times within 10m"),
            kept_back=(
                KeptBack(
                    by="hold",
                    reason="the service is held by uid 0: look first",
                    since=NOW - 60,
                    todo="lvs-healthd release web",
                ),
                KeptBack(
                    by="reload",
                    reason="the last reload was rejected: x.toml:3: weight",
                    since=NOW - 90_000,
                    todo="correct what `lvs-healthd validate` finds, then `lvs-healthd reload`",
                ),
            ),
            plan=PlanWhy(weight=3, reason="status 200"),
            kernel=KernelWhy(
                weight=None,
                read=NOW - 2,
                is_as_planned=False,
                difference="add",
                todo="lvs-healthd release web",
            ),
        ),
        history=(
            PastWhy(at=NOW - 90_000, event="real_server.up", text="up, was down: http: status 200"),
            PastWhy(at=NOW - 60, event="table.held", text="the service is held by uid 0: look first"),
        ),
    )
    return Why(now=NOW, servers=(server,))
