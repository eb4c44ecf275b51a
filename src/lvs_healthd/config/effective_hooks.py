"""Writes hooks as TOML with every default filled in. See `effective`."""

import urllib.parse
from typing import Any

from lvs_healthd.config.check_model import Per
from lvs_healthd.config.hook_model import Hook, HookConvention, Mail
from lvs_healthd.config.secrecy import HIDDEN, is_secret, without_secrets
from lvs_healthd.config.values import duration_text


def hook_table(hook: Hook) -> dict[str, Any]:
    """Return the `[[hook]]` table of a hook, without the keys that do not fit it."""
    return {
        "name": hook.name,
        "on": list(hook.on),
        "services": list(hook.services),
        "servers": list(hook.servers),
        "checks": list(hook.checks),
        **_way(hook),
        "convention": str(hook.convention),
        "timeout": duration_text(hook.timeout),
        "in_shadow": hook.in_shadow,
        **_of_convention(hook),
    }


def _way(hook: Hook) -> dict[str, Any]:
    if hook.command:
        return {"command": list(hook.command), "environment": _hidden(hook.environment)}
    if hook.url:
        return {"url": _shown(hook.url), "secret_file": hook.secret_file, "ca": hook.ca}
    if hook.mail is not None:
        return {"mail": _mail(hook.mail), "ca": hook.ca}
    return {"fifo": hook.fifo}


def _of_convention(hook: Hook) -> dict[str, Any]:
    if hook.convention is HookConvention.JSON and not hook.fifo:
        return {"every": duration_text(hook.every)}
    if hook.convention is not HookConvention.MON:
        return {}
    statuses = [str(first) if first == last else f"{first}-{last}" for first, last in hook.exit_status]
    named = {"exit_status": statuses, "mon_group": hook.mon_group, "mon_service": hook.mon_service}
    return {
        "per": str(hook.per or Per.SERVER),
        "repeat": duration_text(hook.repeat),
        "most": hook.most,
        **{key: value for key, value in named.items() if value},
    }


def _mail(mail: Mail) -> dict[str, Any]:
    login = {"user": mail.user, "password_file": mail.password_file} if mail.user else {}
    return {"to": list(mail.to), "from": mail.sender, "relay": mail.relay, "tls": str(mail.tls), **login}


def _hidden(environment: tuple[tuple[str, str], ...]) -> dict[str, str]:
    return {name: HIDDEN if content and is_secret(name) else content for name, content in environment}


def _shown(url: str) -> str:
    """Return a URL without the secrets in its query."""
    parts = urllib.parse.urlsplit(url)
    query = without_secrets(f"?{parts.query}")[1:] if parts.query else ""
    return urllib.parse.urlunsplit(parts._replace(query=query))
