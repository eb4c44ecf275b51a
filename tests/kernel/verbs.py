"""Verbs of the command line in this process: an emulated start of Python takes longer than what most of them do."""

import contextlib
import io
import sys
from unittest import mock

from lvs_healthd import cli


def run_here(*words: str) -> tuple[int, str, str]:
    """Run one `lvs-healthd` verb to its end; returns exit status, standard output and error, as if in a pipe."""
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
