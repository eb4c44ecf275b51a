"""How etcd fails, in words for an operator."""

from lvs_healthd.runtime.exceptions import PeerError
from lvs_healthd.runtime.printable import printable

_SHOWN = 300


class StoreError(PeerError):
    """Raised when etcd does not do what it is asked. The message names the server, and says what to type."""


class UnansweredError(StoreError):
    """Raised when there is no answer, or one that is not etcd's. Whether a change was made is then not known."""


class UnreachedError(UnansweredError):
    """Raised when a server cannot be reached, so that it has not been asked."""


class RefusedError(StoreError):
    """Raised when etcd refuses a request.

    endpoint: the URL of the server.
    code: gRPC's number of the reason.
    reason: etcd's own words.
    """

    def __init__(self, endpoint: str, code: int, reason: str) -> None:
        self.code = code
        self.reason = reason
        cure = next((cure for words, cure in _CURES.items() if words in reason), "")
        super().__init__(f"{endpoint}: etcd refuses: {printable(reason)[:_SHOWN]}{cure and f'; {cure}'}")


class MissedError(StoreError):
    """Raised when something may have been missed, so that everything must be read again."""


UNAUTHENTICATED = 16
"""gRPC's code for a token that is not valid, or not any more."""

OLD_PERMISSIONS = "revision of auth store is old"
"""What etcd says of a token that was given before somebody changed users or roles."""

NO_AUTHENTICATION = "authentication is not enabled"
"""What etcd says to a user while it lets everybody in."""

_CURES = {
    "user name is empty": "it wants a user: set [fleet] user and password_file",
    "authentication failed": "see [fleet] user and password_file, and `etcdctl user get NAME`",
    "invalid auth token": "see [fleet] user and password_file",
    "permission denied": "see `etcdctl role get NAME`, and `etcdctl role grant-permission NAME readwrite PREFIX "
    "--prefix=true` with the prefix of [fleet]",
    "database space exceeded": "see `etcdctl alarm list`; compact and defragment it, then `etcdctl alarm disarm`",
    "request is too large": "etcd takes 1.5 MiB at once, so put a part of it first",
    "too many operations": "put a part of it first, or give etcd --max-txn-ops",
    "no leader": "the cluster has no quorum; see `etcdctl endpoint status --cluster`",
    "timed out": "the cluster has no quorum, or its disks are slow; see `etcdctl endpoint status --cluster`",
}
"""What to type, by words in what etcd says (server/etcdserver/api/v3rpc/rpctypes/error.go)."""
