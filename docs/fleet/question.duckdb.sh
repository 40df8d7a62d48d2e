#!/bin/sh
duckdb -jsonlines <question.duckdb.sql
