"""Reads a whole keepalived.conf, and writes it as a configuration of ours."""

from lvs_healthd.importers.account import Account
from lvs_healthd.importers.draft import Imported, written
from lvs_healthd.importers.keepalived import general
from lvs_healthd.importers.keepalived.blocks import Blocks, Node
from lvs_healthd.importers.keepalived.carrying import parts
from lvs_healthd.importers.keepalived.completing import complete
from lvs_healthd.importers.keepalived.files import Files, lines_of
from lvs_healthd.importers.keepalived.groups import group
from lvs_healthd.importers.keepalived.hooks import tell_scripts
from lvs_healthd.importers.keepalived.lines import Lines
from lvs_healthd.importers.keepalived.mail import complete_mail
from lvs_healthd.importers.keepalived.records import Configuration
from lvs_healthd.importers.keepalived.servers import invalid, virtual_server
from lvs_healthd.importers.keepalived.told import Told
from lvs_healthd.importers.source import Source

FORMAT = "keepalived"
"""The name of the format on the command line."""


def imported(source: Source) -> Imported:
    """Return a configuration that does the same as a keepalived.conf. Raises `RefusedError`."""
    account = Account({source.name: lines_of(source.text)})
    configuration = read(source, account)
    made = parts(Told(account), configuration)
    account.check()
    text = written(made, source.name, FORMAT, configuration.general)
    return Imported(text, account.remarks(), account.is_lossless)


def read(source: Source, account: Account) -> Configuration:
    """Return what keepalived makes of a file, and record in `account` what it does not use."""
    told = Told(account)
    configuration = Configuration()
    blocks = Blocks(Lines(Files(source, account), account), account, invalid)
    for node in blocks.read():
        _block(told, node, configuration)
    complete(told, configuration)
    complete_mail(told, configuration)
    tell_scripts(told, configuration)
    return configuration


def _block(told: Told, node: Node, configuration: Configuration) -> None:
    if node.keyword == "virtual_server":
        if found := virtual_server(told, node):
            configuration.servers.append(found)
    elif node.keyword == "virtual_server_group":
        if not node.words:
            told.refused_whole(node, "a group has a name; which one is meant?")
            return
        configuration.groups[node.words[0]] = group(told, node)
    else:
        general.block(told, node, configuration)
