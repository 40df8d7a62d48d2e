#!/bin/sh
# It prints the warnings of Python too.
spark-submit --master "$SPARK_MASTER" question.spark.py answer.jsonl >&2
cat answer.jsonl
