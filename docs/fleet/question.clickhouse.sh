#!/bin/sh
python3 -c 'import chdb, sys; print(chdb.query(sys.stdin.read()), end="")' <question.clickhouse.sql
