"""The policy: what is configured, the verdicts and what is present in, the wanted table out, with reasons. Pure."""
