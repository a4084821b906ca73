"""`python -m lengthgen`: the command line, for where the program `lengthgen` is not on the path."""

import sys

from lengthgen.cli.main import main

sys.exit(main())
