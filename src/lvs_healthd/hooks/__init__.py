"""Tells programs, webhooks, mail and pipes of events. Nothing waits for them, and no decision depends on them."""
