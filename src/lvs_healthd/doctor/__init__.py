"""Diagnoses the director: what it sees is kept apart from what it concludes. It changes nothing."""
