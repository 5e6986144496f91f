"""Score a trained network on a data set, with and without CRF in one pass: python -m src.evaluate ckpt=CKPT.

The work is in src/evaluation/evaluate.py.
"""

from src.cli.command import command

main = command("evaluate", "src.evaluation.evaluate:evaluate")

if __name__ == "__main__":
    main()
