"""`lvs-healthd fleet` as an operator runs it, with Debian's etcd."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from lvs_healthd.config.stored import Stored
from lvs_healthd.state.stored import SavedStore, write_store
from tests.cli.running import Run
from tests.etcd import Etcd, etcd
from tests.ready_made.servers import free_port

CONFIG = "/lvs-healthd/config/"
WEB = '[[service]]\nname = "web"\naddress = "192.0.2.100:80"\ncheck = "page"\npool = "ours"\n'
MAIL = '[[service]]\nname = "mail"\naddress = "192.0.2.101:25"\ncheck = "tcp"\nreal_server = ["198.51.100.21"]\n'
SHARED = '[pool.ours]\nreal_server = ["198.51.100.11"]\n[check.page]\ntype = "http"\npath = "/healthz"\n'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    with etcd(tmp_path_factory.mktemp("etcd")) as found:
        yield found


@pytest.fixture
def store(server: Etcd) -> Etcd:
    for key in server.get("/lvs-healthd/"):
        server.delete(key)
    return server


class Director:
    """A folder with a configuration, and its operator."""

    def __init__(self, folder: Path, url: str, run: Run) -> None:
        self.folder = folder
        self.config = folder / "config.toml"
        self.state = folder / "state.json"
        self._run = run
        self.write(f'[fleet]\nstore = "{url}"\n')

    def write(self, text: str) -> None:
        self.config.write_text(f'[daemon]\nstate = "{self.state}"\n{text}')

    def file(self, text: str, name: str = "services.toml") -> str:
        (self.folder / name).write_text(text)
        return str(self.folder / name)

    def __call__(self, *words: str) -> tuple[int, str, str]:
        ran = self._run(*words, "--config", str(self.config))
        return ran.code, ran.out, ran.err.replace(f"{self.folder}/", "")


@pytest.fixture
def director(
    tmp_path: Path, store: Etcd, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Director:
    return Director(tmp_path, store.url, Run("fleet", monkeypatch, capsys))


def test_services_are_put_got_and_compared(director: Director, store: Etcd) -> None:
    file = director.file(SHARED + WEB + MAIL)
    before = store.put("/other", "1")
    assert director("put", file) == (
        0,
        "added check/page\nadded pool/ours\nadded service/mail\nadded service/web\n",
        "",
    )
    assert store.get(CONFIG)[CONFIG + "service/web"] == 'address = "192.0.2.100:80"\ncheck = "page"\npool = "ours"\n'
    assert json.loads(store.get("/lvs-healthd/last-put")["/lvs-healthd/last-put"]).keys() == {"by", "at"}
    assert director("put", file) == (0, "nothing to change\n", "")
    assert director("diff", file) == (0, "no difference\n", "")

    code, text, _ = director("get")
    assert code == 0
    assert text.startswith(f"# etcd revision {before + 1}. ")  # one transaction
    got = director.file(text.replace("192.0.2.101:25", "192.0.2.101:26"), "got.toml")
    assert director("diff", got)[:2] == (
        3,
        f"{got} against etcd /lvs-healthd/ at revision {before + 1}:\nchanged service/mail: address\n",
    )
    assert director("put", got) == (0, "changed service/mail: address\n", "")
    assert json.loads(director("get", "--json")[1])["keys"]["service/mail"]["address"] == "192.0.2.101:26"


def test_what_a_file_lacks_is_deleted_only_if_that_is_said(director: Director, store: Etcd) -> None:
    director("put", director.file(SHARED + WEB + MAIL))
    file = director.file(SHARED + WEB)
    code, out, err = director("put", file)
    assert (code, out) == (1, "")
    assert err == (
        "lvs-healthd fleet: etcd has what services.toml lacks: service/mail; to delete that, add --delete; to keep it, "
        "begin with `lvs-healthd fleet get`\n"
    )
    assert director("put", file, "--delete") == (0, "deleted service/mail\n", "")
    assert CONFIG + "service/mail" not in store.get(CONFIG)


def test_update_of_somebody_else_is_not_lost(director: Director, store: Etcd) -> None:
    director("put", director.file(SHARED + WEB + MAIL))
    mine = director.file(director("get")[1].replace('"/healthz"', '"/ready"'), "mine.toml")
    director("put", director.file(SHARED + WEB), "--delete")  # a colleague takes mail out
    code, out, err = director("put", mine)
    assert (code, out) == (1, "")
    assert "refused, because somebody has changed services since revision" in err
    assert "of which mine.toml is: see `lvs-healthd fleet diff FILE`; then begin again with" in err
    assert CONFIG + "service/mail" not in store.get(CONFIG)
    theirs = director.file(director("get")[1], "theirs.toml")
    store.put(
        CONFIG + "service/web", WEB.partition("\n")[2].partition("\n")[2].replace("100:80", "100:81")
    )  # by etcdctl
    assert director("put", theirs)[0] == 1
    assert "100:81" in store.get(CONFIG)[CONFIG + "service/web"]
    old = director.file(director("get")[1], "old.toml")
    store.delete(CONFIG + "service/web")  # by etcdctl, which leaves no trace but its absence
    code, out, err = director("put", old)
    assert (code, out) == (1, "")
    assert err.endswith(f"; deleted since then: {CONFIG}service/web\n")
    assert CONFIG + "service/web" not in store.get(CONFIG)


def test_what_the_daemon_would_refuse_is_not_put(director: Director, store: Etcd) -> None:
    director.write(director.config.read_text().partition("\n")[2].partition("\n")[2] + MAIL)
    for text, error in [
        (MAIL, 'services.toml:2: service "mail": name: the service on line 5 of config.toml is called "mail" too'),
        (WEB, 'services.toml:5: service "web": pool: expected the name of a [pool.NAME], got "ours"'),
        (SHARED + WEB + 'schedular = "rr"\n', 'services.toml:11: service "web": schedular: unknown key'),
        (
            "[[service]]\naddress = '192.0.2.1:80'\n",
            "services.toml:1: service[0]: name is missing: the key of a service",
        ),
        (
            "[daemon]\nlisten = ''\n",
            "services.toml:1: daemon: only [[service]], [pool.NAME] and [check.NAME] are shared",
        ),
        ("include = 'x'\n", "services.toml:1: include: only [[service]]"),
        ("[[hook]]\non = ['*']\n", "services.toml:1: hook: only [[service]]"),
        (
            '[check.page]\ntype = "http"\nheaders = { Authorization = "Bearer x" }\n',
            "services.toml:3: check.page.headers.Authorization: a secret, which all readers of etcd would see",
        ),
        (
            '[check.run]\ntype = "exec"\ncommand = ["/bin/true"]\n',
            "services.toml:3: check.run.command: whoever writes to etcd would run programs here",
        ),
        ("x = ", "services.toml:1: "),
    ]:
        code, out, err = director("put", director.file(text))
        assert (code, out) == (1, ""), text
        assert error in err, err
    assert store.get("/lvs-healthd/") == {}


def test_wrong_key_is_named_and_put_right(director: Director, store: Etcd) -> None:
    store.put(CONFIG + "service/web", "adress = ")
    store.put(CONFIG + "services/web", "x")
    code, out, err = director("get")
    assert code == 1
    assert f"left out: etcd {CONFIG}service/web:1: " in err
    assert f"left out: etcd {CONFIG}services/web: expected config/service/NAME" in err
    assert "service/web" not in out
    assert director("diff", director.file(SHARED + WEB))[0] == 3
    code, out, _ = director("put", director.file(SHARED + WEB), "--delete")
    assert (code, "changed service/web" in out, "deleted services/web" in out) == (0, True, True)
    assert director("get")[0] == 0


def test_difference_to_what_the_daemon_has(director: Director, store: Etcd) -> None:
    director("put", director.file(SHARED + WEB))
    code, _, err = director("diff")
    assert code == 1
    assert "the services of etcd are not known here: no daemon has kept them in store.json yet" in err
    known = {key: value.encode() for key, value in store.get(CONFIG).items() if "pool" not in key}
    write_store(director.folder / "store.json", SavedStore(stored=Stored("/lvs-healthd/", known, 1), changed=1.0))
    code, out, _ = director("diff")
    assert (code, out.splitlines()[1:]) == (3, ["added pool/ours"])
    assert "which is in force here:" in out


def test_hundreds_of_services_at_once(director: Director, store: Etcd) -> None:
    text = "".join(MAIL.replace('"mail"', f'"m{number}"').replace(":25", f":{number}") for number in range(1, 301))
    code, out, _ = director("put", director.file(text))
    assert (code, out.count("added ")) == (0, 300)
    assert len(store.get(CONFIG)) == 300
    assert director("put", director.file(""), "--delete")[1].count("deleted ") == 300


@pytest.mark.parametrize("words", [["put"], ["get", "x"], ["diff", "x", "--delete"]], ids=" ".join)
def test_wrong_usage(director: Director, words: list[str]) -> None:
    code, _, err = director(*words)
    assert (code, err) == (
        2,
        "lvs-healthd fleet: usage: lvs-healthd fleet put FILE [--delete], fleet get, or fleet diff [FILE]\n",
    )


def test_etcd_that_does_not_answer_or_is_not_configured(director: Director) -> None:
    director.write(f'[fleet]\nstore = "http://127.0.0.1:{free_port()}"\n')
    code, _, err = director("get")
    assert code == 1
    assert err.endswith("no connection: Connection refused; [fleet] store in config.toml says where etcd is\n")
    director.write("")
    code, _, err = director("get")
    assert (code, "config.toml: no etcd: write store = " in err) == (1, True)
    director.write("[fleet]\nstore = 'x'\n")
    code, _, err = director("get")
    assert (code, "config.toml:4: fleet.store: expected a URL" in err) == (1, True)


def test_verbs_without_a_daemon_know_the_services_of_etcd(
    director: Director, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    director.write(director.config.read_text().partition("\n")[2].partition("\n")[2] + WEB)
    run = Run("validate", monkeypatch, capsys)
    ran = run("--config", str(director.config))
    assert ran.code == 1
    assert "the services of etcd are not known here" in ran.err
    keys = {f"{CONFIG}pool/ours": b'real_server = ["198.51.100.11"]', f"{CONFIG}check/page": b'type = "http"\n'}
    write_store(director.folder / "store.json", SavedStore(stored=Stored("/lvs-healthd/", keys, 1), changed=1.0))
    ran = run("--config", str(director.config))
    assert (ran.code, "ok: 1 service, 1 real server, 1 check" in ran.out) == (0, True)
