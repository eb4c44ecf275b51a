"""The daemon's read-only HTTP API: metrics, health, and status as JSON, over TCP and over the control socket."""

from lvs_healthd.api.app import create_app
from lvs_healthd.api.listening import ApiError
from lvs_healthd.api.server import ApiServer

__all__ = ["ApiError", "ApiServer", "create_app"]
