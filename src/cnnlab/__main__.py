"""`python -m cnnlab` is the command `cnnlab`."""

from cnnlab.commands import main

main()
