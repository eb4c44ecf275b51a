"""The secrets with which http checks authenticate. They are read from files, and again at every reload.

All checks with the same file share one `Secret`. A reload reads all files first and then puts all new values into force
at once, so a file that cannot be used changes nothing.
"""

import base64
from collections.abc import Callable, Iterable
from weakref import WeakValueDictionary

from lvs_healthd.config.check_model import HttpCheck
from lvs_healthd.config.secret_files import read_password, read_token


class Secret:
    """What a file holds, as it was last read.

    path: the file.
    read_file: reads a file of this kind.

    Raises an `OSError` that names the file when it cannot be used.
    """

    __slots__ = ("__weakref__", "_path", "_read_file", "value")

    def __init__(self, path: str, read_file: Callable[[str], str]) -> None:
        self._path = path
        self._read_file = read_file
        self.value = self.read()

    def read(self) -> str:
        """Return what the file holds now, without putting it into force. Raises `OSError` as the constructor does."""
        return self._read_file(self._path)


_secrets: WeakValueDictionary[tuple[str, bool], Secret] = WeakValueDictionary()


def secret(check: HttpCheck) -> Secret | None:
    """Return the secret of a check, which other checks may share; None when the check does not authenticate.

    Raises an `OSError` that names the file when this check is the first to use the file and it cannot be used.
    """
    path, is_token = secret_file(check), bool(check.token_file)
    if not path:
        return None
    found = _secrets.get((path, is_token))
    if found is None:
        found = _secrets[path, is_token] = Secret(path, read_token if is_token else read_password)
    return found


def secret_file(check: HttpCheck) -> str:
    """Return the path of the file with a check's secret; empty when the check does not authenticate."""
    return check.token_file or check.password_file


def authorization(check: HttpCheck, known: Secret) -> str:
    """Return the value of a check's Authorization header (RFC 6750, section 2.1; RFC 7617, section 2)."""
    if check.token_file:
        return f"Bearer {known.value}"
    return f"Basic {base64.b64encode(f'{check.user}:{known.value}'.encode()).decode()}"


def read_secrets_again(checks: Iterable[HttpCheck]) -> Callable[[], None]:
    """Read the secrets of these checks again, because the files may have changed.

    Return a function that puts them into force and cannot fail. Raises an `OSError` that names the file when one cannot
    be used.
    """
    secrets = {each for check in checks if (each := secret(check)) is not None}
    values = [(each, each.read()) for each in secrets]

    def put_into_force() -> None:
        for each, value in values:
            each.value = value

    return put_into_force
