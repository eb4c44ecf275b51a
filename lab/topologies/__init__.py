"""How the machines of each topology are wired, a file for each; `lab.topology` has the front door."""
