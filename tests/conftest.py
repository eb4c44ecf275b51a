"""What all tests share: kernel tests are forwarded to where IPVS is."""

pytest_plugins = ["lab.pytest_plugin", "tests.pacing"]
