"""Write a trained network as one file for other programs: python -m src.export ckpt=CKPT format=onnx.

The work is in src/prediction/export/.
"""

from src.cli.command import command

main = command("export", "src.prediction.export.export:export")

if __name__ == "__main__":
    main()
