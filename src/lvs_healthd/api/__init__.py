"""The daemon's HTTP API: metrics, health, status as JSON and operators' requests, over TCP and the control socket."""

from lvs_healthd.api.app import create_app
from lvs_healthd.api.listening import ApiError
from lvs_healthd.api.server import ApiServer

__all__ = ["ApiError", "ApiServer", "create_app"]
