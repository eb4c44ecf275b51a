"""The kernel's IPVS table: records, wire codec, client, an in-memory twin, and the diff between two tables."""
