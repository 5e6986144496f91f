"""Put runs side by side, beside the paper's tables, on one page: python -m src.report runs=GLOB.

The work is in src/reporting/report.py.
"""

from src.cli.command import command

main = command("report", "src.reporting.report:report")

if __name__ == "__main__":
    main()
