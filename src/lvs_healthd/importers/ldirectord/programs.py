"""Checks that are programs: external commands, and services that no check of ours speaks.

Their commands use the variables LVS_ADDRESS and LVS_PORT. Passwords are in variables whose values are never shown.
"""

from lvs_healthd.importers.ldirectord.perl import path
from lvs_healthd.importers.ldirectord.records import bracketed
from lvs_healthd.importers.ldirectord.subject import AskError, Check, Subject

_MYSQL = (
    'MYSQL_PWD="$PASSWORD" mysql --host="$LVS_ADDRESS" --port="$LVS_PORT" --user="$LOGIN" --batch --skip-column-names '
    '--execute="$QUERY" ${DATABASE:+"$DATABASE"} | grep -q ""'
)
_POSTGRES = (
    'PGPASSWORD="$PASSWORD" psql --no-psqlrc --no-password --host="$LVS_ADDRESS" --port="$LVS_PORT" '
    '--username="$LOGIN" ${DATABASE:+--dbname="$DATABASE"} --tuples-only --no-align --command="$QUERY" | grep -q ""'
)
_QUOTED = r's/["\\]/\\&/g'
_RADIUS = (
    f'quoted() {{ printf "%s" "$1" | sed \'{_QUOTED}\'; }}; '
    'printf \'User-Name = "%s", User-Password = "%s"\\n\' "$(quoted "$LOGIN")" "$(quoted "$PASSWORD")" | '
    'radclient -q -r 1 -t "$SECONDS_TO_WAIT" -S /dev/fd/3 "$1" auth 3<<END\n$SECRET\nEND'
)
_FTP = (
    f'printf "%s" "$LOGIN:$PASSWORD" | sed \'{_QUOTED}; s/.*/user = "&"/\' | '
    'curl --silent --config - "$1" | perl -e "$2"'
)
# Secrets do not stand in the arguments of programs, which every user of the director may read.
_MATCHES = "local $/; my $got = <STDIN>; exit !(defined $got && $got =~ /$ENV{RECEIVE}/)"
"""Looks for `receive` as ldirectord does, in Perl."""

_SERVER, _SERVER_V6 = "{address}", "[{address}]"


def external(subject: Subject) -> Check:
    """Return the check of checktype=external: a program with the virtual's and the server's address and port."""
    return _exec([_program(subject), *_arguments(subject)])


def external_perl(subject: Subject) -> Check:
    """Return the check of checktype=external-perl: a file that ldirectord runs within itself, here run by perl."""
    program = _program(subject)
    subject.note("checkcommand", f"{program} is run by /usr/bin/perl as a program of its own")
    return _exec(["/usr/bin/perl", program, *_arguments(subject)])


def _program(subject: Subject) -> str:
    program = subject.text("checkcommand")
    kind = subject.text("checktype")
    if not program:
        raise AskError(
            f"checktype={kind} without checkcommand runs /bin/true, which checks nothing: write checkcommand, or "
            'choose a check such as check = "tcp"'
        )
    words = program.split()
    if len(words) != 1 or not program.startswith("/"):
        shown = ", ".join(f'"{word}"' for word in words or [program])
        raise AskError(
            f"ldirectord takes {program!r} for the name of one program, which must have its whole path: without "
            f'arguments it can be carried over; else choose check = {{ type = "exec", command = [{shown}], '
            'convention = "keepalived" }'
        )
    return program


def _arguments(subject: Subject) -> list[str]:
    virtual, real = subject.virtual, subject.real
    first = bracketed(virtual.address) if virtual.mark is None else str(virtual.mark)
    server = _SERVER_V6 if virtual.is_v6 else _SERVER
    return [first, str(virtual.port), server, "{port}" if real.port else "0"]


def sql(subject: Subject) -> Check:
    """Return the check of a server of mysql or pgsql: the query has at least one row."""
    service, query = subject.virtual.service, subject.request[1:]
    login = subject.text("login")
    if not login or not query:
        advice = '"mysql"' if service == "mysql" else '"postgres"' if service == "pgsql" else '"tcp"'
        raise AskError(
            f"service={service} without login and request finds no server up: write both, or choose a check such as "
            f"check = {advice}"
        )
    if service == "oracle":
        raise AskError('no check here speaks to Oracle: choose check = "tcp", or a program of yours with type = "exec"')
    is_mysql = service == "mysql"
    client = "mysql (package mariadb-client)" if is_mysql else "psql (package postgresql-client)"
    subject.note("service", f"the check runs {client}, which must be on the director")
    environment = {"LOGIN": login, "PASSWORD": subject.text("passwd"), "QUERY": query}
    environment["DATABASE"] = subject.text("database")
    return _shell(service, _MYSQL if is_mysql else _POSTGRES, environment)


def radius(subject: Subject) -> Check:
    """Return the check of a RADIUS server: it accepts a login."""
    login, secret = subject.text("login"), subject.text("secret")
    if not login or not secret:
        raise AskError("service=radius without login and secret finds no server up: write both")
    subject.note("service", "the check runs radclient (package freeradius-utils), which must be on the director")
    environment = {"LOGIN": login, "PASSWORD": subject.text("passwd"), "SECRET": secret}
    environment["SECONDS_TO_WAIT"] = str(subject.check_timeout_s)
    server = _SERVER_V6 if subject.virtual.is_v6 else _SERVER
    return _shell("radius", _RADIUS, environment, f"{server}:{{port}}")


def ftp(subject: Subject) -> Check:
    """Return the check of an FTP server: a file that it sends matches `receive`."""
    receive = subject.receive
    if not receive:
        raise AskError(
            "service=ftp without receive finds every server up, also one that is off: write receive, or choose a check "
            'such as check = "ftp"'
        )
    has_defaults = "service" in subject.virtual.settings
    login = subject.text("login") or ("anonymous" if has_defaults else "")
    if not login:
        raise AskError(
            "ldirectord logs in without a name here, which servers refuse: write login, or service=ftp for anonymous, "
            'or choose a check such as check = "ftp"'
        )
    password = subject.text("passwd") or ("ldirectord@director" if has_defaults else "")
    subject.note("service", "the check runs curl and perl, which must be on the director")
    server = _SERVER_V6 if subject.virtual.is_v6 else _SERVER
    url = f"ftp://{server}:{{port}}/{path(subject.request)}"
    return _shell("ftp", _FTP, {"LOGIN": login, "PASSWORD": password, "RECEIVE": receive}, url, _MATCHES)


def _shell(name: str, script: str, environment: dict[str, str], *words: str) -> Check:
    check = _exec(["/bin/sh", "-c", script, "sh", *words])
    kept = {variable: value for variable, value in environment.items() if value}
    return check | {"name": name, "environment": kept}


def _exec(command: list[str]) -> Check:
    return {"type": "exec", "command": command, "convention": "keepalived"}
