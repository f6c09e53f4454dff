"""`python -m parfocal`: the command line, from a clone too: `PYTHONPATH=src python -m parfocal ...`."""

from parfocal.cli import main

main()
