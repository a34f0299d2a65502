"""`python -m kennel`: the command, for an environment whose scripts are not on the path."""

from kennel.cli import main

main()
