"""Keeps what is known of every check, server and service, and turns outcomes into verdicts and the wanted table."""
