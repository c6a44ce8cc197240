"""`python -m zhiban` is `zhiban`."""

from zhiban.cli import main

main()
