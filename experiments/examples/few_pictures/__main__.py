"""The command of the package."""

import sys

from experiments.examples.few_pictures import main

if __name__ == "__main__":
    print(main(*sys.argv[1:]))
