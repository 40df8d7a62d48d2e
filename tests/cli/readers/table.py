import csv
import sys

with open(sys.argv[1], newline="", encoding="utf-8") as file:
    for row in csv.DictReader(file, strict=True):
        assert None not in row and None not in row.values(), row
        print([row[name] for name in sys.argv[2:]])
