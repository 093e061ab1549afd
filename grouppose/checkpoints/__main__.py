"""`python -m grouppose.checkpoints convert IN OUT`: what `grouppose convert IN OUT` does."""

import sys

from grouppose.inference.cli import main

sys.exit(main())
