"""What is known of every check, server and service: outcomes come in, verdicts and the wanted table go out."""
