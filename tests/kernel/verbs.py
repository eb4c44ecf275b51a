"""Runs verbs of the command line in this process, because starting Python in a guest takes longer than most verbs."""

import contextlib
import io
import sys
from unittest import mock

from lvs_healthd import cli


def run_here(*words: str) -> tuple[int, str, str]:
    """Run one `lvs-healthd` verb to its end, as in a pipe. Return exit status, standard output and standard error."""
    out, err = io.StringIO(), io.StringIO()
    status = 0
    with (
        mock.patch.object(sys, "argv", ["lvs-healthd", *words]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            cli.main()
        except SystemExit as end:
            status = int(end.code or 0)
    return status, out.getvalue(), err.getvalue()
