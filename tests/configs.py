"""Short ways to write configurations in tests."""

from lvs_healthd.config.basics import Endpoint, Protocol, Seconds
from lvs_healthd.config.check_model import AnyCheck, TcpCheck
from lvs_healthd.config.model import Config, FallbackServer, Forward, Mode, OnFailure, RealServer, Service


def tcp_check(address: str, port: int, **keys: object) -> TcpCheck:
    return TcpCheck(address=address, port=port, **{"name": "tcp", **keys})  # type: ignore[arg-type]


def server(address: str, port: int = 80, *, weight: int = 1, checks: tuple[AnyCheck, ...] | None = None) -> RealServer:
    if checks is None:
        checks = (tcp_check(address, port),)
    return RealServer(endpoint=Endpoint(address, port), weight=weight, checks=checks)


def service(
    *servers: RealServer,
    name: str = "web",
    address: str = "192.0.2.100",
    port: int = 80,
    protocol: Protocol = Protocol.TCP,
    on_failure: OnFailure = OnFailure.REMOVE,
    fallback: tuple[str, ...] = (),
    scheduler: str = "rr",
    persistence: float = 0.0,
    forward: Forward = Forward.NAT,
    fwmark: int = 0,
    mode: Mode = Mode.ENFORCE,
) -> Service:
    return Service(
        name=name,
        endpoint=None if fwmark else Endpoint(address, port),
        fwmark=fwmark,
        protocol=protocol,
        scheduler=scheduler,
        forward=forward,
        on_failure=on_failure,
        persistence=Seconds(persistence),
        fallback=tuple(FallbackServer(endpoint=Endpoint(each, port)) for each in fallback),
        real_servers=servers,
        mode=mode,
    )


def config(*services: Service) -> Config:
    return Config(services=services)
