"""Wires the machines of each topology, with one file per topology. Use them through `lab.topology`."""
