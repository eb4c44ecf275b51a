"""The live screen of `lvs-healthd status --watch`: what is bad comes first, and keys filter and scroll.

`answers` asks the daemon, `rows` says which lines there are, `draw` makes a picture of them, and `screen` brings it to
the terminal. The facts and their words are those of `lvs-healthd status` (`cli.draw_status` and `cli.trouble`).
"""
