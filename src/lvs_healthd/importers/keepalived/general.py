"""Says what becomes of blocks that are about keepalived itself, and of what its other processes do."""

from lvs_healthd.importers.keepalived import mail
from lvs_healthd.importers.keepalived.blocks import Node
from lvs_healthd.importers.keepalived.records import Configuration, TrackFile
from lvs_healthd.importers.keepalived.told import MissingWordError, Told
from lvs_healthd.importers.keepalived.words import Invalid, number

_VRRP_STAYS = "it stays with keepalived, which goes on to run VRRP; take only the virtual servers out of its file"
_OTHER = {
    "bfd_instance": "it stays with keepalived or the router, because lvs-healthd has no BFD",
    "linkbeat_interfaces": _VRRP_STAYS,
}
_TIMEOUTS = {"tcp": "tcp", "tcpfin": "tcp_fin", "udp": "udp"}
"""Keys of [ipvs.timeouts] by the words of lvs_timeouts."""
_MOST_TIMEOUT_S = 31 * 86_400
_READER = "the daemon starts no reader of the FIFO; let systemd start it, with the FIFO's path as its argument"
_GLOBAL = {
    "lvs_flush": "lvs-healthd never empties the table at a start",
    "lvs_flush_on_stop": "lvs-healthd leaves the table as it is at a stop; `lvs-healthd flush` empties it",
    "lvs_flush_onstop": "lvs-healthd leaves the table as it is at a stop; `lvs-healthd flush` empties it",
    "script_user": "programs run as one user: see docs/systemd.md, Programs",
    "enable_script_security": "programs run without privileges anyway: see docs/systemd.md, Programs",
    "lvs_notify_fifo_script": _READER,
    "notify_fifo_script": _READER,
    "nftables_ipvs": "groups become services of their own, without nftables",
    "enable_snmp_checker": "there is no SNMP; /metrics has the numbers",
    "lvs_sync_daemon": "write [ipvs.sync.master] and [ipvs.sync.backup]; with a VRRP instance it followed VRRP",
}
"""What to do instead of settings that are about IPVS and checks."""


_FIFOS = ("lvs_notify_fifo", "notify_fifo")


def block(told: Told, node: Node, configuration: Configuration) -> None:
    """Read a block or line outside of all blocks that is no virtual server and no group."""
    if node.keyword == "global_defs":
        _globals(told, node, configuration)
    elif node.keyword == "SSL":
        _ssl(told, node, configuration)
    elif node.keyword in {"track_file", "vrrp_track_file"}:
        _track_file(told, node, configuration)
    elif node.keyword == "net_namespace_ipvs":
        told.carried(node)
        ipvs = configuration.general.setdefault("ipvs", {})
        if isinstance(ipvs, dict) and node.words:
            ipvs["netns"] = node.words[0]
    elif node.keyword in {"net_namespace", "use_pid_dir", "instance", "child_wait_time", "namespace_with_ipsets"}:
        told.dropped(node, "it is about keepalived's own processes; see docs/systemd.md")
    else:
        told.dropped(node, _OTHER.get(node.keyword, _VRRP_STAYS))


def _globals(told: Told, node: Node, configuration: Configuration) -> None:
    """Tell what is about IPVS and checks line by line, and the rest at once."""
    rest: list[Node] = []
    for child in node.nodes:
        if child.keyword == "lvs_timeouts":
            _timeouts(told, child, configuration)
        elif child.keyword in mail.KEYWORDS:
            mail.read_mail(told, child, configuration)
        elif child.keyword in _FIFOS:
            _fifo(told, child, configuration)
        elif child.keyword in _GLOBAL:
            told.dropped(child, _GLOBAL[child.keyword])
        else:
            rest.append(child)
    if rest:
        names = ", ".join(dict.fromkeys(child.keyword for child in rest))
        places = [place for child in rest for place in child.places()]
        told.account.dropped(node.place, f"settings of keepalived itself stay there: {names}", *node.also, *places)
    else:
        told.carried(node)


def _fifo(told: Told, node: Node, configuration: Configuration) -> None:
    try:
        path = told.word(node)
    except MissingWordError:
        return
    if any(other.keyword == node.keyword for other in configuration.fifos):
        told.ignored(node, f"keepalived keeps the first {node.keyword}")
        return
    if not path.startswith("/") or not path.isprintable():
        told.dropped(node, f"a FIFO needs its absolute path, and {path} is none; write a [[hook]] with fifo")
        return
    told.noted(node, "under systemd, pipes belong into /run/lvs-healthd (docs/hooks.md)")
    if len(node.words) > 1:
        told.dropped(node, "the FIFO belongs to the daemon's user; let its reader belong to the daemon's group")
    if node.keyword == "notify_fifo":
        told.dropped(node, "the lines of VRRP come from keepalived as before; let one of the two write to another FIFO")
    told.dropped(node, "keepalived tells of quorums at each of its starts too; here only of what changes")
    configuration.fifos.append(node)


def _timeouts(told: Told, node: Node, configuration: Configuration) -> None:
    """Read pairs of a name and seconds. 0 leaves the kernel's."""
    told.carried(node)
    ipvs = configuration.general.setdefault("ipvs", {})
    timeouts: dict[str, str] = {}
    for name, word in zip(node.words[::2], [*node.words[1::2], ""], strict=False):
        value = number(word, 0, _MOST_TIMEOUT_S, is_strict=True)
        if name not in _TIMEOUTS or isinstance(value, Invalid):
            told.refused(node, f"keepalived does not understand {name} {word} here; lvs_timeouts tcp N tcpfin N udp N")
        elif value.value:
            timeouts[_TIMEOUTS[name]] = f"{value.value}s"
    if isinstance(ipvs, dict) and timeouts:
        ipvs["timeouts"] = timeouts


def _ssl(told: Told, node: Node, configuration: Configuration) -> None:
    told.carried(node)
    for child in node.nodes:
        try:
            word = told.word(child)
        except MissingWordError:
            continue
        if child.keyword == "certificate":
            configuration.certificate = word
            told.carried(child)
        elif child.keyword == "key":
            configuration.key = word
            told.carried(child)
        elif child.keyword == "ca":
            told.ignored(child, "keepalived verifies no certificate; remove verify = false in the checks, and set ca")
        else:
            told.dropped(
                child, "a key with a passphrase cannot be used; write one without it, readable for the daemon only"
            )


def _track_file(told: Told, node: Node, configuration: Configuration) -> None:
    if not node.words:
        told.refused_whole(node, "it has no name; which one is meant?")
        return
    found = TrackFile(node)
    told.carried(node)
    for child in node.nodes:
        try:
            _track_line(told, child, found)
        except MissingWordError:
            continue
    configuration.files[node.words[0]] = found


def _track_line(told: Told, node: Node, found: TrackFile) -> None:
    if node.keyword == "file":
        found.file = told.word(node)
        told.carried(node)
    elif node.keyword == "weight":
        word = told.word(node)
        told.carried(node)
        if not word.lstrip("+-").isdecimal():
            told.refused(node, f"keepalived does not understand the weight {word!r}; what is meant?")
            return
        found.weight = int(word)
    else:
        told.dropped(node, "lvs-healthd does not make the file; let whoever writes it make it")
