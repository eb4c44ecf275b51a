"""Records the kernel's answers byte for byte, for `recorded_kernel`. `python -m bench.record` runs it in the lab.

It makes one service with one destination, and sends every kind of request once.
"""

import json
import os
from pathlib import Path

from bench.netlink import Conversation, kernel_socket
from lvs_healthd.ipvs.kernel import codec
from lvs_healthd.ipvs.kernel.genetlink import NLM_F_ACK
from lvs_healthd.ipvs.records import DestinationKey, DestinationRecord, Operation, ServiceKey, ServiceRecord, Verb
from lvs_healthd.ipvs.words import AF_INET, IPPROTO_TCP, ForwardingMethod

SERVICE = ServiceRecord(ServiceKey(AF_INET, IPPROTO_TCP, "192.0.2.100", 80), "rr")
DESTINATION = DestinationRecord(DestinationKey(AF_INET, "198.51.100.11", 8080), ForwardingMethod.MASQ, 7)


def main() -> None:
    """Send all requests, and write the answers as JSON into the folder shared with the host."""
    kernel = Conversation(kernel_socket())
    recorded = {"family": kernel.open()}
    add_service, add_server, again, absent = (
        kernel.encoded([Operation(verb, SERVICE, destination)])[0]
        for verb, destination in (
            (Verb.ADD_SERVICE, None),
            (Verb.ADD_SERVER, DESTINATION),
            (Verb.ADD_SERVER, DESTINATION),
            (
                Verb.DELETE_SERVER,
                DestinationRecord(DestinationKey(AF_INET, "198.51.100.99", 1), ForwardingMethod.MASQ, 0),
            ),
        )
    )
    if kernel.write(add_service) != [0]:
        raise SystemExit("the kernel refused to be recorded")
    recorded |= {
        "added": kernel.raw(add_server),
        "info": kernel.ask(kernel.family, codec.CMD_GET_INFO, b"", NLM_F_ACK),
        "service": kernel.ask(kernel.family, codec.CMD_GET_SERVICE, codec.encode_service_key(SERVICE.key), NLM_F_ACK),
        "services": kernel.dump(codec.CMD_GET_SERVICE),
        "destinations": kernel.dump(codec.CMD_GET_DEST, codec.encode_service_key(SERVICE.key)),
        "exists": kernel.raw(again),
        "absent": kernel.raw(absent),
    }
    release = os.uname().release
    answers = {name: answer.hex() for name, answer in recorded.items()}
    folder = Path(os.environ["LVS_HEALTHD_LAB_FOLDER"])
    (folder / "result.json").write_text(json.dumps({"kernel": release, **answers}, indent=1) + "\n", encoding="ascii")


if __name__ == "__main__":
    main()
