"""The director's own network beside the table.

It keeps the other network settings as configured (sysctls, timeouts, sync daemons and nftables rules), and watches for
faults of the network that make servers seem dead.
"""

from collections.abc import Sequence

from lvs_healthd.director.aspect import Aspect
from lvs_healthd.director.rules import NftTable
from lvs_healthd.director.sync import SyncDaemons
from lvs_healthd.director.sysctls import Sysctls
from lvs_healthd.director.timeouts import ConnectionTimeouts
from lvs_healthd.ipvs.kernel.settings import SettingsClient
from lvs_healthd.runtime.netns import Netns


def aspects(netns: Netns) -> Sequence[Aspect]:
    """Return the aspects that manage this machine's settings, in the order in which they must be applied.

    The nftables rules come first because they load connection tracking; without it, its sysctls do not exist. The
    sysctls come before the sync daemons because the kernel reads `sync_ports` when a sync daemon starts.
    """
    client = SettingsClient(netns)
    return (NftTable(netns), Sysctls(netns), ConnectionTimeouts(client), SyncDaemons(client, netns))
