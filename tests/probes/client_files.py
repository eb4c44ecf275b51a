"""PEM files of a client's certificate and its private key."""

from pathlib import Path

import trustme
from cryptography.hazmat.primitives import serialization


def client_files(folder: Path, issuer: trustme.CA, name: str = "director") -> tuple[str, str]:
    """Let an authority issue a client's certificate. Return the paths of the certificate and of its key."""
    issued = issuer.issue_cert(f"{name}.example")
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    issued.cert_chain_pems[0].write_to_path(str(cert))
    issued.private_key_pem.write_to_path(str(key))
    key.chmod(0o600)
    return str(cert), str(key)


def with_passphrase(key: str) -> None:
    """Encrypt the private key in a file."""
    path = Path(key)
    loaded = serialization.load_pem_private_key(path.read_bytes(), None)
    path.write_bytes(
        loaded.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"hunter2"),
        )
    )
