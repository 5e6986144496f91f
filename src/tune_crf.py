"""Search the dense CRF's parameters for a trained network: python -m src.tune_crf ckpt=CKPT.

The work is in src/tuning/tune.py.
"""

from src.cli.command import command

main = command("tune_crf", "src.tuning.tune:tune")

if __name__ == "__main__":
    main()
