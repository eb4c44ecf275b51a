import errno

import pytest

from lvs_healthd.ipvs.records import Operation, Verb
from lvs_healthd.ipvs.refusals import code_name, explain
from tests.ipvs.tables import WEB, server, service

ONE = server("198.51.100.1")


@pytest.mark.parametrize(
    ("verb", "code", "words"),
    [
        (Verb.ADD_SERVICE, errno.EEXIST, "the service already exists"),
        (Verb.ADD_SERVICE, errno.ENOENT, 'scheduler "foo" is not known to this kernel: modprobe ip_vs_foo'),
        (Verb.SET_SERVICE, errno.ENOENT, 'scheduler "foo" is not known to this kernel: modprobe ip_vs_foo'),
        (Verb.SET_SERVICE, errno.ESRCH, "no such service"),
        (Verb.ADD_SERVER, errno.EEXIST, "the server already exists"),
        (Verb.ADD_SERVER, errno.ESRCH, "no such service"),
        (Verb.SET_SERVER, errno.ENOENT, "no such server"),
        (Verb.DELETE_SERVER, errno.ENOENT, "no such server"),
        (Verb.SET_SERVER, errno.ERANGE, "weight or connection threshold out of range"),
        (
            Verb.SET_SERVER,
            errno.EPERM,
            "not permitted: needs CAP_NET_ADMIN: run as root or give the unit AmbientCapabilities=CAP_NET_ADMIN",
        ),
        (Verb.DELETE_SERVICE, errno.EIO, "input/output error"),
    ],
)
def test_an_errno_is_explained_by_what_was_tried(verb: Verb, code: int, words: str) -> None:
    assert explain(Operation(verb, service(WEB, "foo"), ONE), code) == words


def test_einval_says_what_the_kernel_may_dislike() -> None:
    assert "must be unicast" in explain(Operation(Verb.ADD_SERVER, service(), ONE), errno.EINVAL)
    assert "netmask" in explain(Operation(Verb.ADD_SERVICE, service()), errno.EINVAL)


def test_a_missing_persistence_engine_is_named_beside_the_scheduler() -> None:
    operation = Operation(Verb.ADD_SERVICE, service(persistence_engine="sip"))
    assert explain(operation, errno.ENOENT).endswith('or persistence engine "sip" is not: modprobe ip_vs_pe_sip')


def test_the_kernels_own_message_is_appended() -> None:
    assert explain(Operation(Verb.SET_SERVICE, service()), errno.ESRCH, "gone") == "no such service (gone)"


def test_codes_have_names_for_labels() -> None:
    assert [code_name(errno.EPERM), code_name(None), code_name(4711)] == ["EPERM", "unknown", "4711"]
