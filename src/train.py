"""Train a network, validate it with and without CRF, keep the best checkpoint: python -m src.train [OVERRIDES].

The work is in src/training/fit.py.
"""

from src.cli.command import command

main = command("train", "src.training.fit:main")

if __name__ == "__main__":
    main()
