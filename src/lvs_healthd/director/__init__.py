"""What the director's network stack needs beside the IPVS table, kept as configured like the table itself."""

from collections.abc import Sequence

from lvs_healthd.director.aspect import Aspect
from lvs_healthd.director.rules import NftTable
from lvs_healthd.director.sync import SyncDaemons
from lvs_healthd.director.sysctls import Sysctls
from lvs_healthd.director.timeouts import ConnectionTimeouts
from lvs_healthd.ipvs.kernel.settings import SettingsClient
from lvs_healthd.runtime.netns import Netns


def aspects(netns: Netns) -> Sequence[Aspect]:
    """Make what keeps the real ones.

    The rules come first: they load connection tracking, without which its sysctls do not exist. The sysctls come before
    the sync daemons, whose number of ports is read when they start.
    """
    client = SettingsClient(netns)
    return (NftTable(netns), Sysctls(netns), ConnectionTimeouts(client), SyncDaemons(client, netns))
