"""Lets the programs of exec checks run although no daemon is there to run them: for the verbs that probe once."""

import contextlib
import tempfile
from collections.abc import AsyncIterator, Iterable

import msgspec

from lvs_healthd.config.check_model import AnyCheck, ExecCheck
from lvs_healthd.probes.targets import ProbeKey, probe_key
from lvs_healthd.programs.child import is_served, present


@contextlib.asynccontextmanager
async def runnable(checks: Iterable[AnyCheck]) -> AsyncIterator[dict[ProbeKey, AnyCheck]]:
    """Yield the checks to run instead of these, by `probe_key`, and serve their programs for the length of the block.

    Only exec checks are different, and only when nobody serves the socket through which their programs are run.
    """
    given = {probe_key(check): check for check in checks}
    helper = next((check.helper for check in given.values() if isinstance(check, ExecCheck)), "")
    if not helper or await is_served(helper):
        yield given
        return
    with tempfile.TemporaryDirectory() as folder:
        own = f"{folder}/exec.sock"
        async with present(own):
            yield {
                key: msgspec.structs.replace(check, helper=own) if isinstance(check, ExecCheck) else check
                for key, check in given.items()
            }
