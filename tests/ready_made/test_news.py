"""INN's server for readers, nnrpd."""

from pathlib import Path

from tests.ready_made.checks import ready_made
from tests.ready_made.conftest import Tried
from tests.ready_made.servers import IN_PLACE, NOBODY, in_place, running
from tests.ready_made.syslog import logging_to, syslog

ALL = 'auth all { auth: "*"\n default: "<reader>" }\naccess all { users: "*"\n newsgroups: "*" }\n'
NONE = 'auth none { hosts: "192.0.2.1" }\naccess none { users: "*"\n newsgroups: "*" }\n'


def nnrpd(port: int, directory: Path, readers: str, *, has_overview: bool = True) -> list[str | Path]:
    """Run it by itself, without the server that takes in articles."""
    directory.chmod(0o755)
    for folder in ("etc", "db", "run", "spool", "spool/articles", "spool/overview"):
        (directory / folder).mkdir(exist_ok=True)
    settings = {
        "mta": "/bin/true",
        "domain": "example.org",
        "pathhost": "news.example.org",
        "organization": "x",
        "ovmethod": "tradindexed",
        "hismethod": "hisv6",
        "runasuser": "nobody",
        "runasgroup": "nogroup",
        "pathnews": "/usr/lib/news",
        "pathetc": f"{IN_PLACE}/etc",
        "pathdb": f"{IN_PLACE}/db",
        "pathspool": f"{IN_PLACE}/spool",
        "pathrun": f"{IN_PLACE}/run",
    }
    (directory / "etc" / "inn.conf").write_text("".join(f"{key}: {value}\n" for key, value in settings.items()))
    (directory / "etc" / "readers.conf").write_text(readers)
    (directory / "etc" / "storage.conf").write_text("method tradspool { class: 0\n newsgroups: *\n}\n")
    (directory / "db" / "active").write_text("control 0000000000 0000000001 n\njunk 0000000000 0000000001 n\n")
    (directory / "db" / "newsgroups").touch()
    (directory / "etc" / "inn-secrets.conf").touch()
    arguments = ("-D", "-f", "-b", "127.0.0.1", "-p", str(port))
    setting = ("env", f"INNCONF={IN_PLACE}/etc/inn.conf", "sh", "-c")
    start = "export LD_LIBRARY_PATH=/usr/lib/news:$LD_LIBRARY_PATH; export PATH=/usr/lib/news/bin:$PATH; "
    start += ("makehistory -x -O; " if has_overview else "") + 'exec nnrpd "$@"'
    return in_place(*setting, start, "nnrpd", *arguments, directory=directory, users={"news": NOBODY})


def test_nntp(tried: Tried, port: int, tmp_path: Path) -> None:
    check = ready_made("nntp", port)
    with running(nnrpd(port, tmp_path, ALL, has_overview=False), tmp_path):
        tried.down_soon(check, "inn2", "has no overview of its articles", "400")
    with syslog(tmp_path / "dev") as log:
        with running(logging_to(tmp_path / "dev", *nnrpd(port, tmp_path, ALL)), tmp_path, logs=[log]) as server:
            tried.life(check, "inn2", server)
        with running(nnrpd(port, tmp_path, NONE), tmp_path):
            tried.down_soon(check, "inn2", "does not let the director read", "502")
