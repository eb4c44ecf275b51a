"""Remarks on files with secrets that everybody on the host may read."""

import itertools
from pathlib import Path

from lvs_healthd.config.errors import Errors
from lvs_healthd.config.http_values import is_secret
from lvs_healthd.config.text import is_public, leaves


def remark_public_secret(path: Path, document: dict[str, object], errors: Errors) -> None:
    """Remark on the first secret of a file, if everybody may read the file.

    path: the file.
    document: its content.
    """
    if not is_public(path):
        return
    secrets = (
        where
        for where, value in leaves(document)
        if where[-2:-1] == ("headers",) and value and is_secret(str(where[-1]))
    )
    for first in itertools.islice(secrets, 1):
        errors.remark(first, f"everybody on this host can read this secret: chmod o-r {path}")
