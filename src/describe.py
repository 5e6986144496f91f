"""Show a network's layers, sizes, parameters, FLOPs and receptive fields: python -m src.describe [OVERRIDES].

The work is in src/preparation/describe.py.
"""

from src.cli.command import command

main = command("describe", "src.preparation.describe:describe")

if __name__ == "__main__":
    main()
