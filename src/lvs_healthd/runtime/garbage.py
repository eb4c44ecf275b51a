"""What the garbage collector need not look at."""

import gc


def spare_long_lived() -> None:
    """Keep the garbage collector from walking what lives as long as the configuration does.

    Fifty thousand servers are a million objects: one full round over them holds the event loop up for 0.2 s. What is
    spared once is spared for good, so that a reload does not walk it either: parts of a configuration that know each
    other must let go of each other when they are dropped, or they are never freed.
    """
    gc.collect()
    gc.freeze()
