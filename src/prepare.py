"""Get a data set, or look at every sample of it: python -m src.prepare dataset=CHOICE [verify=true]."""

from src.cli.command import command

main = command("prepare", "src.data.prepare:main")

if __name__ == "__main__":
    main()
