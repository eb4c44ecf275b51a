"""A gRPC server with the health service of grpcio-health-checking: `grpc_server.py PORT PEM [SERVICE=STATE …]`.

It serves TLS with the key and certificate in the file PEM, or none if PEM is "-". The service "" is the server as a
whole. With `none` in place of the services it has no health service. It reads `SERVICE=STATE` lines from its standard
input, sets them, and answers each with a line.
"""

import concurrent.futures
import sys
from pathlib import Path

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

port, pem, *services = sys.argv[1:]
server = grpc.server(concurrent.futures.ThreadPoolExecutor(2))
servicer = health.HealthServicer()


def set_state(text: str) -> None:
    service, _, state = text.strip().partition("=")
    servicer.set(service, health_pb2.HealthCheckResponse.ServingStatus.Value(state))


if services != ["none"]:
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    for text in services:
        set_state(text)
if pem == "-":
    assert server.add_insecure_port(f"127.0.0.1:{port}")
else:
    data = Path(pem).read_bytes()
    assert server.add_secure_port(f"127.0.0.1:{port}", grpc.ssl_server_credentials([(data, data)]))
server.start()
sys.stdout.write("ready\n")
sys.stdout.flush()
for line in sys.stdin:
    set_state(line)
    sys.stdout.write("set\n")
    sys.stdout.flush()
