"""Events about hooks, who are told of events. No hook is told of these."""

from lvs_healthd.events.kinds.event import Event


class HookFailed(Event, frozen=True, kw_only=True):
    """A hook could not tell of something. Emitted once for each error, until the hook works again."""

    name = "hook.error"
    level = "error"
    hook: str
    about: str
    """What it was to tell of, such as "real_server.down web 198.51.100.11:80"."""
    error: str
    retry_s: float | None
    """In how many seconds it tries again; None if it does not."""


class HookRecovered(Event, frozen=True, kw_only=True):
    """A hook works again, after `HookFailed`."""

    name = "hook.recovered"
    hook: str
    failed: int
    """How many messages were given up meanwhile."""
    after_s: float


class HookDropped(Event, frozen=True, kw_only=True):
    """A hook has fallen behind, so that old messages were dropped. Emitted at most once a minute for each hook."""

    name = "hook.dropped"
    level = "warning"
    hook: str
    dropped: int
    """How many messages were dropped since this was told last."""
    waiting: int
    """How many messages wait."""
