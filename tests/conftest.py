"""What all tests share: kernel tests are forwarded to where IPVS is."""

from hypothesis import settings

# How long an example takes says nothing on a machine that is busy with other things.
settings.register_profile("quick", deadline=None, max_examples=60)
settings.register_profile("thorough", deadline=None, max_examples=500)
settings.load_profile("quick")

pytest_plugins = ["lab.pytest_plugin", "tests.pacing"]
