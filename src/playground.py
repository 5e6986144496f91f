"""Try the CRF on images in the browser: python -m src.playground ckpt=CKPT.

The work is in src/prediction/playground/.
"""

from src.cli.command import command

main = command("playground", "src.prediction.playground.serve:serve")

if __name__ == "__main__":
    main()
