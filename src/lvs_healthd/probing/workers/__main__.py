"""One worker: `python -m lvs_healthd.probing.workers DESCRIPTOR`. Started by the daemon alone."""

from lvs_healthd.probing.workers.process import main

if __name__ == "__main__":
    main()
