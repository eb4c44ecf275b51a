"""One worker: `python -m lvs_healthd.workers DESCRIPTOR`. Started by the daemon alone."""

from lvs_healthd.workers.process import main

if __name__ == "__main__":
    main()
