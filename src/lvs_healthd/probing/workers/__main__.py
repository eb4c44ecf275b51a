"""Runs one worker: `python -m lvs_healthd.probing.workers DESCRIPTOR`. Only the daemon starts it."""

from lvs_healthd.probing.workers.process import main

if __name__ == "__main__":
    main()
