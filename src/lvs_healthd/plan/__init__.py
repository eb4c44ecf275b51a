"""The policy: from the configuration, the verdicts and the kernel's table to the wanted table, with reasons. Pure."""
