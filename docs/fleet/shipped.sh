#!/bin/sh
duckdb -jsonlines <shipped.sql
