"""Get a data set, import labels, or look at every sample: python -m src.prepare dataset=CHOICE or from=PATH.

The work is in src/preparation/prepare.py.
"""

from src.cli.command import command

main = command("prepare", "src.preparation.prepare:main")

if __name__ == "__main__":
    main()
