"""Other directors, which say of this one's servers that they see them up or down, nonsense, or nothing at all."""

from collections.abc import Iterable, Mapping

from lvs_healthd.config.model import Config
from lvs_healthd.daemon.agreeing import AgreementRuns
from lvs_healthd.store.directors import Heard, Published, Said, written

OLD_S = 3600.0

MODES = ("up", "down", "unsure", "mixed", "up too long ago", "other servers", "nonsense")
"""What a director says."""


class Peers:
    """An exchange by which others are heard.

    It stays as it is while a daemon is started again, as etcd does.
    """

    error = ""

    def __init__(self) -> None:
        self.agree = 1
        self._said: dict[str, Heard] = {}

    def say(self, runs: AgreementRuns, agree: int, modes: Iterable[str]) -> None:
        """Let so many directors be needed, and others say this of all servers that there are now."""
        self.agree = agree
        self._said = {f"peer{number}": _heard(runs, mode) for number, mode in enumerate(modes)}

    def publish(self, content: bytes) -> None:
        """Nobody listens."""

    def peers(self) -> Mapping[str, Heard]:
        return self._said

    async def run(self) -> None:
        """Do nothing: what is said is heard."""

    async def withdraw(self) -> None:
        """Nobody listens."""


class Runs(AgreementRuns):
    """What this director and others tell each other, without etcd."""

    exchange: Peers

    def adopt(self, config: Config) -> None:
        self.configured("me", self.exchange.agree, self.exchange if self.exchange.agree > 1 else None)


def _heard(runs: AgreementRuns, mode: str) -> Heard:
    if mode == "nonsense":
        return Heard(b'{"format":1,"services":[[[', 0.0)
    services: dict[str, Said] = {}
    for number, service in enumerate(runs._decisions.services):
        word = {"mixed": ("down", "unsure", "")[number % 3], "down": "down", "unsure": "unsure"}.get(mode, "")
        others = {str(server.key): word for server in service.servers} if word else {}
        servers = 7 if mode == "other servers" else runs._sum(service.key)
        services[str(service.key)] = Said(servers, None, others)
    age_s = OLD_S if mode == "up too long ago" else 0.0
    return Heard(written(Published(run=mode, sequence=1, at=0.0, services=services)), age_s)
