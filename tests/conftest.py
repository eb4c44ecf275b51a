"""What all tests share: kernel tests are forwarded to where IPVS is."""

from hypothesis import settings

# How long an example takes says nothing on a machine that is busy with other things.
settings.register_profile("ours", deadline=None)
settings.load_profile("ours")

pytest_plugins = ["lab.pytest_plugin", "tests.pacing"]
